"""Joins the head and the body of a response into one write."""

import asyncio
import contextlib
import logging
from typing import Any

BUFFERED_BYTES = 16 * 1024
GRACE_TURNS = 10  # iterations of the event loop; BaseHTTPMiddleware sends the body some turns after the head

log = logging.getLogger("gunicorn.error")


def _closing() -> bool:
    return True


class WriteBuffers:
    """All transports of a worker with a buffered response head.

    One callback in each iteration of the event loop flushes those whose grace period has ended.
    """

    def __init__(self) -> None:
        self.pending: list[WriteBuffer] = []

    def schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has to be called when the first one has been added to `pending`."""
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """An exception of one connection must not end the callback, which serves all connections."""
        buffers, self.pending = self.pending, []
        for buffer in buffers:
            try:
                if buffer.held and buffer.has_turns_left():
                    self.pending.append(buffer)
            except Exception:
                buffer.held = b""
                log.exception("A connection's write failed; the other connections are not affected")
        if self.pending:
            self.schedule(loop)


class WriteBuffer:
    """A transport that holds the head of a response for the moment that its body takes to come.

    Uvicorn writes head and body apart. A worker that is killed in between leaves half a response, which no
    proxy can ask another worker for; and each write costs a system call and often a packet.

    It holds one piece: the next one takes it along, and the end of the response flushes it.
    """

    __slots__ = (
        "_buffers",
        "_loop",
        "_turns_left",
        "get_extra_info",
        "held",
        "is_closing",
        "pause_reading",
        "resume_reading",
        "transport",
        "writes",
    )

    def __init__(
        self, transport: asyncio.Transport, buffers: WriteBuffers, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.transport = transport
        self.held = b""
        self.writes = 0  # so that a silent stream can be told from one that sends
        self._turns_left = 0
        self._buffers, self._loop = buffers, loop
        # Asked for every request: looked up once.
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        if self.held or len(data) > BUFFERED_BYTES:
            data, self.held = self.held + data, b""
            if not self.is_closing():
                self.writes += 1
                self.transport.write(data)
        elif data:
            self.held, self._turns_left = data, GRACE_TURNS
            pending = self._buffers.pending
            pending.append(self)
            if len(pending) == 1:
                self._buffers.schedule(self._loop)

    def has_turns_left(self) -> bool:
        self._turns_left -= 1
        if not self._turns_left:
            self.flush()
        return self._turns_left > 0

    def flush(self) -> None:
        """Has to be called at the end of a response."""
        if self.held:
            data, self.held = self.held, b""
            if not self.is_closing():
                self.writes += 1
                self.transport.write(data)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def write_eof(self) -> None:
        """Sends what is held and ends the sending side: what an application writes after it is dropped."""
        self.flush()
        # Uvicorn and the methods above write nothing to a transport that is closing; a write after the end
        # of the sending side would raise.
        self.is_closing = _closing
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone
            self.transport.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
