"""The base of all users: no request is repeated silently, and every response is checked."""

import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any

import geventhttpclient.client
from gevent.event import Event
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import FastHttpUser
from locust.contrib.fasthttp import FastResponse, LocustBadStatusCode

from loadtests import keys
from loadtests.users.arrivals import Arrivals

# An unavoidable internal. The client repeats a GET whose connection ended without an answer, up to pool
# size + 1 times, whatever max_retries says: a crash drill then reports no failure at all. selfcheck.py
# refuses to run where this no longer helps.
geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()

ANSWER_SECONDS = 15.0


class WrongAnswerError(Exception):
    """The status was right, the body was not."""


class StrictUser(FastHttpUser):
    """Closed loop by default: the next request follows the answer. With `arrivals` set, an open loop."""

    abstract = True
    concurrency = 1
    network_timeout = connection_timeout = ANSWER_SECONDS
    default_headers = keys.headers()
    needs_items = True
    arrivals: Arrivals | None = None  # one for all users of this process
    sent = 0  # by all users of this process
    due = 0.0
    closing = Event()  # set: who has an answer asks no more

    def on_start(self) -> None:
        self.wait_time()

    def wait_time(self) -> float:
        """Called by Locust between two tasks; each task is one request."""
        if StrictUser.closing.is_set():
            Event().wait()  # for Locust to end: told to stop by it, a user may still send one more
        self.due = self.arrivals.take() if self.arrivals else perf_counter()
        return 0.0

    def ask(
        self,
        method: str,
        path: str,
        name: str,
        is_right: Callable[[bytes], bool],
        *,
        status: int = 200,
        **options: Any,
    ) -> bool:
        """Sends a request. Returns whether the response was right; else Locust counts a failure."""
        StrictUser.sent += 1
        moment = {"due": self.due, "start": perf_counter()}
        with self.client.request(
            method, path, name=name, catch_response=True, context=moment, **options
        ) as answer:
            problem = _problem(answer, status, is_right) if answer.status_code else None
            if problem:
                answer.failure(problem)
        return bool(answer.status_code) and problem is None


def _problem(answer: FastResponse, status: int, is_right: Callable[[bytes], bool]) -> Exception | None:
    if answer.status_code != status:
        return LocustBadStatusCode(answer.url, code=answer.status_code)
    content = answer.content or b""
    try:
        right = is_right(content)
    except (ValueError, KeyError, TypeError):  # not JSON, or of another shape
        right = False
    return None if right else WrongAnswerError(content[:80].decode(errors="replace"))


def kind_of(failure: Exception | None) -> str:
    """Returns how a request ended, in the reports' words; "" when the response was right."""
    if failure is None:
        return ""
    if isinstance(failure, LocustBadStatusCode):
        return f"http {failure.code}"  # type: ignore[attr-defined]
    for types, kind in (
        (WrongAnswerError, "wrong body"),
        (HTTPConnectionClosed, "closed without answer"),
        (ConnectionRefusedError, "refused"),
        ((ConnectionResetError, BrokenPipeError), "reset"),
        ((TimeoutError, socket.timeout), "timeout"),
        (HTTPParseError, "garbled"),
    ):
        if isinstance(failure, types):
            return kind
    return type(failure).__name__
