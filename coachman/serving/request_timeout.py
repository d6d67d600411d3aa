"""COACHMAN_REQUEST_SECONDS: how long a request may wait for the start of its response."""

import asyncio
import logging
from typing import Any

from coachman.asgi import Application, Message, Receive, Send
from coachman.edge.problem import MEDIA_TYPE, problem_document

log = logging.getLogger("coachman.serving")


class RequestTimeout:
    """ASGI: answers 504 and cancels the handler when nothing has been answered in time.

    A response that has begun may go on, so downloads and event streams are not concerned. A handler
    that is plain `def` runs in a thread, which nothing can cancel: its client is answered, and the
    thread is free when the handler has ended.
    """

    def __init__(self, application: Application, seconds: float) -> None:
        self.application, self.seconds = application, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _TimedRequest(self.seconds, scope, send).run(self.application, receive)
        else:
            await self.application(scope, receive, send)


class _TimedRequest:
    """One request: a timer, and no task of its own unless the timer expires."""

    __slots__ = ("_has_begun", "_scope", "_seconds", "_send", "_task", "_timeout_answer", "_timer")

    def __init__(self, seconds: float, scope: Message, send: Send) -> None:
        self._seconds, self._scope, self._send = seconds, scope, send
        self._has_begun = False
        self._timeout_answer: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    async def run(self, application: Application, receive: Receive) -> None:
        try:
            await application(self._scope, receive, self._send_unless_late)
        except asyncio.CancelledError:
            if not self._was_cancelled_by_timer():
                raise
        except Exception as error:
            if self._timeout_answer is None:
                raise
            self._was_cancelled_by_timer()
            log.warning("A handler that was cancelled failed: %r", error)
        else:
            self._was_cancelled_by_timer()
        finally:
            self._timer.cancel()
        if self._timeout_answer is not None:
            await self._timeout_answer

    async def _send_unless_late(self, message: Message) -> None:
        if self._timeout_answer is not None:
            return
        if not self._has_begun:
            self._has_begun = True
            self._timer.cancel()
        await self._send(message)

    def _expire(self) -> None:
        """Runs as a callback of the loop, so the handler waits for something at this moment."""
        if self._task is None:
            return
        scope, seconds = self._scope, self._seconds
        log.warning("%s %s was not answered within %g s", scope["method"], scope["path"], seconds)
        self._timeout_answer = asyncio.ensure_future(_answer_504(self._send, seconds))
        self._task.cancel()

    def _was_cancelled_by_timer(self) -> bool:
        """Whether the timer alone asked for the cancellation, which is taken back."""
        return self._timeout_answer is not None and self._task is not None and not self._task.uncancel()


async def _answer_504(send: Send, seconds: float) -> None:
    body = problem_document(504, f"The request was not answered within {seconds:g} seconds.")
    headers = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 504, "headers": headers})
    await send({"type": "http.response.body", "body": body})
