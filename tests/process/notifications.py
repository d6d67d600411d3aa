"""Stands in for systemd: binds the socket that NOTIFY_SOCKET names, and keeps what the master says."""

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self


class Notification(NamedTuple):
    at: float
    lines: list[str]


class Notifications:
    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify.sock")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(0.1)
        self._received: list[Notification] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._receive)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()

    def times(self, line: str) -> list[float]:
        """When it came, monotonic."""
        return [notification.at for notification in list(self._received) if line in notification.lines]

    def count(self, line: str) -> int:
        return len(self.times(line))

    def last(self, line: str) -> float:
        return max(self.times(line))

    def statuses(self) -> list[tuple[float, str]]:
        """When each came, and what it said."""
        return [
            (notification.at, line.removeprefix("STATUS="))
            for notification in list(self._received)
            for line in notification.lines
            if line.startswith("STATUS=")
        ]

    def status(self) -> str:
        """The newest."""
        return self.statuses()[-1][1] if self.statuses() else ""

    def _receive(self) -> None:
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                lines = self._socket.recv(4096).decode().splitlines()
                self._received.append(Notification(time.monotonic(), lines))
