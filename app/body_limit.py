"""Refuses bodies that are too large, where no Coachman in front has done so (COACHMAN_BODY_BYTES)."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import Problem
from app.server import limits_bodies


class BodyLimit:
    """Answers 413 as a problem document; FastAPI's own `max_body_size` answers in plain text."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.is_needed = not limits_bodies()  # asked in the worker: Starlette makes its middleware there
        self.sentence = f"The body is larger than {max_body_bytes} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.is_needed:
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self.max_body_bytes):
            await Problem(413, self.sentence).response()(scope, receive, send)
            return

        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                # FastAPI lets no other exception out of its reading of a body.
                raise HTTPException(413, self.sentence)
            return message

        await self.app(scope, receive_within_limit, send)
