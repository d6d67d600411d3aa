"""A client that sends whatever bytes it likes, and one that behaves."""

import contextlib
import http.client
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Self

HEAD = b"GET /pid HTTP/1.1\r\nhost: here\r\n"


class Attacker:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes, *, seconds: float = 60) -> bool:
        """Whether all of it was taken in the time, and the connection still was there."""
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def send_until_refused(self, piece: bytes, *, most: int) -> int:
        """How many bytes were taken."""
        sent = 0
        while sent < most and self.send(piece):
            sent += len(piece)
        return sent

    def read_to_end(self, *, seconds: float = 60) -> bytes:
        """All that comes until the server ends the connection. Raises TimeoutError when it does not."""
        received = b""
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                piece = self.socket.recv(1024 * 1024)
            except ConnectionError:
                return received
            if not piece:
                return received
            received += piece

    def status(self) -> int:
        """Of the first answer, once the server has ended the connection; 0 when it said nothing."""
        received = self.read_to_end()
        return int(received.split()[1]) if received else 0


class Canary:
    """Asks again and again on fresh connections; its latencies tell how others fare."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str = "/pid", *, seconds: float = 60) -> float:
        """Seconds until the answer. Raises when it is not 200."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
        return time.perf_counter() - begun

    def median(self, times: int = 30) -> float:
        return statistics.median(self.ask() for _ in range(times))

    def median_within(self, seconds: float) -> float:
        begun, latencies = time.monotonic(), []
        while time.monotonic() - begun < seconds:
            latencies.append(self.ask(seconds=60))
        return statistics.median(latencies)


@contextlib.contextmanager
def crowd(port: int, size: int, greeting: bytes = b"") -> Iterator[list[socket.socket]]:
    """Many connections that send the same and wait. Some may be refused."""
    members = []
    try:
        for _ in range(size):
            with contextlib.suppress(OSError):
                member = socket.create_connection(("127.0.0.1", port), timeout=60)
                members.append(member)
                if greeting:
                    member.sendall(greeting)
        yield members
    finally:
        for member in members:
            member.close()


def still_open(members: list[socket.socket]) -> int:
    count = 0
    for member in members:
        member.setblocking(False)
        try:
            while member.recv(65536):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count
