"""Says in one sentence why an application did not start."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable

from coachman.asgi import Application, Message, Receive, Send

log = logging.getLogger("uvicorn.error")


class ReadableStartup:
    """ASGI: lets everything through but the traceback that Starlette sends when a lifespan raises.

    Whoever runs the service reads what is wrong; whoever wrote the application asks for the traceback.
    """

    def __init__(self, application: Application, hold_seconds: float = 0) -> None:
        """`hold_seconds`: how long a start-up that has ended is kept back, before anything is accepted."""
        self._application, self._hold_seconds = application, hold_seconds

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self._application(scope, receive, send)

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        has_failed = False  # else it does not know the lifespan protocol, and Uvicorn serves it without

        async def send_without_traceback(message: Message) -> None:
            nonlocal has_failed
            if message["type"].endswith(".failed"):
                has_failed, message = True, {**message, "message": ""}
            elif message["type"] == "lifespan.startup.complete":
                await asyncio.sleep(self._hold_seconds)
            await send(message)

        try:
            await self._application(scope, receive, send_without_traceback)
        except Exception as error:
            if not has_failed:
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "The application failed: %s (%s:%s)", error or repr(error), where.filename, where.lineno
            )
            log.debug("COACHMAN_LOG_LEVEL=debug shows it in full:", exc_info=error)
            raise
