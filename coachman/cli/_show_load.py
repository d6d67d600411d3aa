"""The clients of `coachman show`: a few connections that are kept and ask all the time, and count."""

import collections
import http.client
import threading
import time
from typing import NamedTuple

CLIENTS = 8
PAUSE_SECONDS = 0.01
TIMEOUT_SECONDS = 30.0
AGAIN_SECONDS = 0.05


class Counts(NamedTuple):
    """What became of the requests of one act of the show."""

    answered: int = 0
    failed: int = 0  # answered with 500 or above
    lost: int = 0  # sent, and the connection ended without a whole answer
    refused: int = 0  # no connection was to be had


class Load:
    """Asks GET `path` with CLIENTS connections until it is stopped. Each request counts for one act."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.path, self._address = path, (host, port)
        self._act = ""
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def begin(self, act: str) -> None:
        """Requests that are sent from now on belong to `act`. The first call starts the clients."""
        is_first, self._act = not self._act, act
        if is_first:
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Returns when each client has its last answer."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(TIMEOUT_SECONDS)

    def counts(self, act: str) -> Counts:
        with self._lock:
            return Counts(*(self._counts[act, outcome] for outcome in Counts._fields))

    def _ask(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.wait(PAUSE_SECONDS):
            act = self._act
            if connection is None:
                connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_SECONDS)
            outcome = self._exchange(connection)
            with self._lock:
                self._counts[act, outcome] += 1
            if outcome in ("lost", "refused"):
                connection.close()
                connection = None
                time.sleep(AGAIN_SECONDS)
        if connection is not None:
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection) -> str:
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return "refused"
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return "lost"
        return "failed" if answer.status >= 500 else "answered"
