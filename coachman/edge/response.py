"""A request and its response between Uvicorn's protocol and the application."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WITHOUT_CONTENT = (204, 304)  # RFC 9110, 6.4.1
FRAMING = (b"content-length", b"transfer-encoding")


class Closer(Protocol):
    """Decides which connections are to be closed, each behind a complete response."""

    to_close: int

    def begin(self, scope: Any, message: Any) -> Any:
        """The start of a response, with `connection: close` where it is to be the last one."""


class Response(RequestResponseCycle):
    """Uvicorn's cycle, with what RFC 9110 and 9112 ask of a response beyond it.

    A response to HTTP/1.0 without a length ends with the connection, a 204 or 304 has no content, and an
    exception behind a complete response leaves the connection as the response has said. A client that has
    ended its sending side still gets its response.
    """

    _is_reframed = False  # the body's framing is not Uvicorn's
    _is_without_content = False
    _is_received = False  # the application has the end of the body
    closer: Closer | None = None  # where some connections are to be closed
    ends_connection = False  # the protocol closes it once the response is complete
    is_half_closed = False  # `receive` returns http.disconnect; the application may still respond

    async def run_asgi(self, app: Any) -> None:
        """Runs the application. As Uvicorn's, but that an exception closes only what is incomplete."""
        try:
            result = await app(self.scope, self.receive, self.send)
        except BaseException as error:
            # A client that has gone, or was cut at the end of a drain, is waited for by nobody: who cancels
            # the request has said why.
            if not (self.disconnected and isinstance(error, asyncio.CancelledError)):
                self.logger.error("Exception in ASGI application\n", exc_info=error)
            await self._end_incomplete()
        else:
            if result is not None:
                self.logger.error("ASGI callable should return None, but returned '%s'.", result)
                self.transport.close()
            elif not self.disconnected and not self.response_complete:
                missing = "completing" if self.response_started else "starting"
                self.logger.error("ASGI callable returned without %s response.", missing)
                await self._end_incomplete()
        finally:
            self.on_response = lambda: None

    async def _end_incomplete(self) -> None:
        if not self.response_started:
            await self.send_500_response()
        elif not self.response_complete:
            self.transport.close()

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]
        if not self.response_started:
            if message["type"] == "http.response.start":
                if self.closer is not None:
                    message = self.closer.begin(self.scope, message)
                if message["status"] in WITHOUT_CONTENT or self.scope["http_version"] == "1.0":
                    message = self._reframe(message)
        else:
            if not self.keep_alive:  # has been said; Uvicorn would close at once
                self.keep_alive, self.ends_connection = True, True
            if self._is_reframed:
                if self._is_without_content:
                    message = {**message, "body": b""}
                self.expected_content_length = len(message.get("body", b""))  # any length is right
        return RequestResponseCycle.send(self, message)

    def _reframe(self, message: Any) -> Any:
        """The start of a response whose body Uvicorn would frame in a way that is not allowed."""
        headers = list(message.get("headers", ()))
        names = {name.lower() for name, _ in headers}
        if message["status"] in WITHOUT_CONTENT:
            self._is_reframed = self._is_without_content = True
            # The length in a 304 is that of the response to a GET.
            dropped = FRAMING if message["status"] == 204 else FRAMING[1:]
        else:
            dropped = FRAMING[1:]
            self._is_reframed = b"content-length" not in names and self.scope["method"] != "HEAD"
            if self._is_reframed:
                self.chunked_encoding = False  # the end of the connection ends the body
        return {**message, "headers": [field for field in headers if field[0].lower() not in dropped]}

    async def receive(self) -> Any:
        """As Uvicorn's, but that the application learns that the client has ended its sending side."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self._is_over():
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self._is_over():
            return {"type": "http.disconnect"}
        self._is_received = not self.more_body
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def _is_over(self) -> bool:
        return self.disconnected or self.response_complete or (self.is_half_closed and self._is_received)

    def half_close(self) -> None:
        """Has the next `receive` after the end of the body return http.disconnect."""
        self.is_half_closed = True
        if self._is_received:
            self.message_event.set()  # wakes an application that waits for it
