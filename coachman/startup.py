"""Says in one sentence why an application did not start."""

import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger("uvicorn.error")


class ReadableStartup:
    """ASGI: lets everything through but the traceback that Starlette sends when a lifespan raises.

    Whoever runs the service reads what is wrong; whoever wrote the application asks for the traceback.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self._application(scope, receive, send)

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_without_traceback(message: Message) -> None:
            await send({**message, "message": ""} if message["type"].endswith(".failed") else message)

        try:
            await self._application(scope, receive, send_without_traceback)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "The application failed: %s (%s:%s)", error or repr(error), where.filename, where.lineno
            )
            log.debug("COACHMAN_LOG_LEVEL=debug shows it in full:", exc_info=error)
            raise
