"""The end of a connection whose client may still be sending."""

import asyncio

from coachman.edge.rejection import Rejection
from coachman.edge.write_buffer import WriteBuffer

LINGER_SECONDS = 2
LINGER_BYTES = 8 * 1024 * 1024


class LingeringClose:
    """Shuts the sending side behind a last response, and discards input until the connection ends.

    `rejection` is the error to be sent before, if there is one. A close while received bytes are unread makes
    the kernel send a reset, which can destroy the response before the client has read it (RFC 9112, 9.6).
    """

    def __init__(
        self, rejection: Rejection | None, transport: WriteBuffer, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.rejection = rejection
        self._transport, self._loop = transport, loop
        self._discarded_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, response: bytes = b"") -> None:
        self._transport.write(response)
        self._transport.write_eof()
        self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.transport.abort)

    def discard(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > LINGER_BYTES:
            self._transport.transport.abort()

    def cancel(self) -> None:
        """Has to be called when the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
