"""Servers with known faults, in threads of the test's process."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\nwaited"


class FaultyServer(socketserver.ThreadingTCPServer):
    """Counts requests. `fault` says what the n-th is answered with; after too few bytes it hangs up."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, fault: Callable[[int], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.requests, self.lock = fault, 0, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: FaultyServer

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                with self.server.lock:
                    self.server.requests += 1
                    number = self.server.requests
                answer = self.server.fault(number)
                connection.sendall(answer)
                if len(answer) < len(ANSWER):
                    return


@contextlib.contextmanager
def serving(fault: Callable[[int], bytes]) -> Iterator[FaultyServer]:
    with FaultyServer(fault) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
