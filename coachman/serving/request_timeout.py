"""COACHMAN_REQUEST_SECONDS: how long a request may wait for its answer to begin."""

import asyncio
import logging
from typing import Any

from coachman.asgi import Application, Message, Receive, Send
from coachman.edge.problem import MEDIA_TYPE, problem_document

log = logging.getLogger("gunicorn.error")


class Deadline:
    """ASGI: answers 504 and cancels the handler when nothing has been answered in time.

    A response that has begun may go on, so downloads and event streams are not concerned. A handler
    that is plain `def` runs in a thread, which nothing can cancel: its client is answered, and the
    thread is free when the handler has ended.
    """

    def __init__(self, application: Application, seconds: float) -> None:
        self._application, self._seconds = application, seconds
        self._abandoned: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        begun, late = asyncio.Event(), False

        async def send_unless_late(message: Message) -> None:
            begun.set()
            if not late:
                await send(message)

        handler = asyncio.ensure_future(self._application(scope, receive, send_unless_late))
        try:
            await self._wait(handler, begun)
            if begun.is_set() or handler.done():
                return await handler
            late = True
            log.warning("%s %s was not answered within %g s", scope["method"], scope["path"], self._seconds)
            self._abandon(handler)
            return await _answer_504(send, self._seconds)
        finally:
            if not handler.done():
                self._abandon(handler)

    async def _wait(self, handler: "asyncio.Future[None]", begun: asyncio.Event) -> None:
        beginning = asyncio.ensure_future(begun.wait())
        either: set[asyncio.Future[Any]] = {handler, beginning}
        try:
            await asyncio.wait(either, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            beginning.cancel()

    def _abandon(self, handler: Any) -> None:
        self._abandoned.add(handler)
        handler.add_done_callback(self._forget)
        handler.cancel()

    def _forget(self, handler: Any) -> None:
        self._abandoned.discard(handler)
        if not handler.cancelled() and handler.exception() is not None:
            log.warning("A handler that was cancelled failed: %r", handler.exception())


async def _answer_504(send: Send, seconds: float) -> None:
    body = problem_document(504, f"The request was not answered within {seconds:g} seconds.")
    headers = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": body})
