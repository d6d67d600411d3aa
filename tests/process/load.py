"""A strict client: connections are kept, nothing is ever sent twice, every outcome is counted."""

import http.client
import threading
from collections import Counter


class KeepAliveLoad:
    """`clients` threads that ask for one path as fast as they get answers, until the block ends."""

    def __init__(self, port: int, path: str, *, clients: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port, self._path = port, path
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self._counts: list[Counter[str]] = []

    def __enter__(self) -> "KeepAliveLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)
        self.outcomes = sum(self._counts, Counter())

    def served(self) -> int:
        return sum(count["200"] for count in self._counts)

    def _run(self) -> None:
        count: Counter[str] = Counter()
        self._counts.append(count)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._end.is_set():
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                answer.read()
                count[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                count[type(error).__name__] += 1
                connection.close()
        connection.close()
