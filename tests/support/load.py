"""A strict client: nothing is ever sent twice, and every outcome is counted apart."""

import contextlib
import http.client
import itertools
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Self

from tests.support.deadlines import PATIENCE_SECONDS

Body = bytes | Callable[[bytes], bool] | None


class Failure(NamedTuple):
    outcome: str
    answered_by: bytes | None  # the last body on the same connection; None on a fresh one


class Answer(NamedTuple):
    asked_at: float  # on the monotonic clock
    seconds: float


class Load:
    """`clients` threads that ask for the paths in turn, each `pause` seconds after an answer, in a block.

    Outcomes: success, reset, refused, timeout, garbled, truncated, wrong_body, or such as "status 503".
    """

    def __init__(
        self,
        port: int,
        *paths: str,
        clients: int,
        keep_alive: bool = True,
        body: Body = None,
        timeout: float = PATIENCE_SECONDS,
        pause: float = 0.003,
        connect: Callable[..., socket.socket] = socket.create_connection,
    ) -> None:
        """`connect` opens the connections, for a service that is in another network."""
        headers = {} if keep_alive else {"Connection": "close"}
        self._clients = [
            _Client(_connection(port, timeout, connect), paths, headers, body) for _ in range(clients)
        ]
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=client.run, args=(self._end, pause), daemon=True)
            for client in self._clients
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_SECONDS)

    @property
    def outcomes(self) -> Counter[str]:
        return sum((client.outcomes.copy() for client in self._clients), Counter())

    @property
    def failures(self) -> list[Failure]:
        return [failure for client in self._clients for failure in client.failures]

    @property
    def answers(self) -> list[Answer]:
        """Of the successes, how long each took."""
        return [answer for client in self._clients for answer in client.answers]

    def served(self) -> int:
        return self.outcomes["success"]

    def answered_by(self) -> list[bytes | None]:
        """What each client's open connection answered last: for an application that says its pid, by whom."""
        return [client.answered_by for client in self._clients]


def _connection(
    port: int, timeout: float, connect: Callable[..., socket.socket]
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection._create_connection = connect  # type: ignore[attr-defined]  # it has no other way to be told
    return connection


class _Client:
    def __init__(
        self,
        connection: http.client.HTTPConnection,
        paths: tuple[str, ...],
        headers: dict[str, str],
        body: Body,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.answers: list[Answer] = []
        self.answered_by: bytes | None = None
        self._connection, self._paths = connection, itertools.cycle(paths)
        self._headers, self._body = headers, body

    def run(self, end: threading.Event, pause: float) -> None:
        while not end.is_set():
            asked_at = time.monotonic()
            outcome = self._ask(next(self._paths))
            self.outcomes[outcome] += 1
            if outcome == "success":
                self.answers.append(Answer(asked_at, time.monotonic() - asked_at))
            else:
                self.failures.append(Failure(outcome, self.answered_by))
                self._close()
            # A port that refuses would else be asked some thousand times a second.
            end.wait(pause if outcome == "success" else 0.02)
        self._close()

    def _ask(self, path: str) -> str:
        if self._is_closed_by_server():
            self._close()
        try:
            self._connection.request("GET", path, headers=self._headers)
            answer = self._connection.getresponse()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        except OSError:
            return "reset"
        except http.client.HTTPException:
            return "garbled"
        return self._read(answer)

    def _read(self, answer: http.client.HTTPResponse) -> str:
        try:
            # Without a length the end of the connection ends the body, cut or not.
            if answer.length is None and not answer.chunked:
                return "truncated"
            body = answer.read()
        except TimeoutError:
            return "timeout"
        except (OSError, http.client.HTTPException):
            return "truncated"
        self.answered_by = None if answer.will_close else body
        if answer.status != 200:
            return f"status {answer.status}"
        return "success" if self._is_right(body) else "wrong_body"

    def _is_right(self, body: bytes) -> bool:
        if callable(self._body):
            return self._body(body)
        return self._body is None or body == self._body

    def _is_closed_by_server(self) -> bool:
        """Whether a kept connection ended while nothing was asked on it: real clients look, too."""
        kept: socket.socket | None = self._connection.sock
        if kept is None or not select.select([kept], [], [], 0)[0]:
            return False
        with contextlib.suppress(ConnectionError):
            return not kept.recv(1, socket.MSG_PEEK)
        return True

    def _close(self) -> None:
        self._connection.close()
        self.answered_by = None
