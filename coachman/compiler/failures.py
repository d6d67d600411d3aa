"""Lets FastAPI's and Starlette's own code answer an exception that was raised outside of it."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STARTED: Message = {"type": "http.response.start"}  # tells a layer that the head is on its way


async def raise_within(
    wrap: Callable[[ASGIApp], ASGIApp],
    error: Exception,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    is_started: bool,
) -> None:
    """Runs what `wrap` puts around an application, as if that application had only now raised the exception.

    `is_started`: whether the head of the answer has been sent.
    """

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if is_started:
            await send(_STARTED)
        raise error

    async def send_all_else(message: Message) -> None:
        if message is not _STARTED:
            await send(message)

    await wrap(fail)(scope, receive, send_all_else)
