"""Observes each request that the application answers. Runs in the worker."""

import asyncio
import time
from collections.abc import Awaitable

from coachman.asgi import Application, Message, Receive, Send
from coachman.edge.disconnects import is_disconnect
from coachman.edge.rejection import REJECTED
from coachman.logs import request_id
from coachman.metrics.counters import Metrics
from coachman.serving.requests.access_log import AccessLog
from coachman.serving.requests.compiled_counts import CompiledCounts
from coachman.serving.requests.counts import RequestCounts, Tell
from coachman.serving.requests.route_template import route_of
from coachman.settings import ServerSettings

CLIENT_GONE = 499  # as nginx has it


class Observer:
    """ASGI: gives each request its id, counts it and passes it to the access log.

    That is done just before the last piece of its answer is sent. serve() calls `flush` ten times a
    second, which adds up and writes what has been recorded since.
    """

    def __init__(
        self,
        application: Application,
        settings: ServerSettings,
        metrics: Metrics | None,
        tell: Tell | None = None,
    ) -> None:
        """`tell` is called ten times a second with what has been answered: see RequestCounts."""
        self.application = application
        self._gives_ids = settings.request_ids
        self._counts = RequestCounts(metrics, tell) if metrics is not None else None
        self._compiled = CompiledCounts(metrics) if metrics is not None else None
        self._access = None
        if settings.access_log != "off":
            self._access = AccessLog(settings.access_log, settings.slow_seconds)
        self.is_needed = self._gives_ids or self._counts is not None or self._access is not None

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self.application(scope, receive, send)
        identifier = request_id.take(scope["headers"]) if self._gives_ids else ""
        if scope["type"] != "http":
            return self.application(scope, receive, send)
        return _Observed(self, scope, send, identifier.encode()).run(receive)

    def flush(self) -> None:
        if self._counts is not None:
            self._counts.flush()
        if self._compiled is not None:
            self._compiled.flush()
        if self._access is not None:
            self._access.flush()

    def end(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        if self._counts is not None:
            self._counts.count(method, route, status, seconds)
        if self._access is not None:
            self._access.log(method, route, status, seconds, sent)


class _Observed:
    """One request."""

    __slots__ = ("_begun", "_has_ended", "_id", "_observer", "_root", "_scope", "_send", "_sent", "_status")

    def __init__(self, observer: Observer, scope: Message, send: Send, identifier: bytes) -> None:
        self._observer, self._scope, self._send, self._id = observer, scope, send, identifier
        self._root: str = scope["root_path"]  # a mount makes it longer
        self._status = self._sent = 0
        self._has_ended = False
        self._begun = time.perf_counter()

    async def run(self, receive: Receive) -> None:
        try:
            await self._observer.application(self._scope, receive, self._observe)
        except asyncio.CancelledError:
            self._status = self._status or CLIENT_GONE
            raise
        except Exception as error:
            # Uvicorn answers 500 where nothing was answered.
            self._status = CLIENT_GONE if is_disconnect(error) else self._status or 500
            raise
        finally:
            self._end()

    def _observe(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._id:
                message = _with_id(message, self._id)
        else:
            self._sent += len(message.get("body", b""))
            # A failure with a response may be a client that left: only the exception, after this, shows it.
            if not message.get("more_body") and self._status < 500:
                self._end()
        return self._send(message)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            seconds = time.perf_counter() - self._begun
            route = route_of(self._scope, self._root)
            status = self._scope.get(REJECTED) or self._status or CLIENT_GONE
            self._observer.end(self._scope["method"], route, status, seconds, self._sent)


def _with_id(message: Message, identifier: bytes) -> Message:
    headers = list(message.get("headers", ()))
    for name, _ in headers:
        if name == request_id.HEADER:  # the application says it itself
            return message
    headers.append((request_id.HEADER, identifier))
    return {**message, "headers": headers}
