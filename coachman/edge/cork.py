"""One write for head and body of an answer."""

import asyncio
from typing import Any

HELD_BYTES = 16 * 1024
TURNS = 10  # of the loop; Starlette's middleware hands the body on some turns after the head


class Corks:
    """Those of one worker that hold something: one callback looks at them all, once a turn."""

    def __init__(self) -> None:
        self.holding: list[Cork] = []

    def look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called with the first of `holding`."""
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self.holding = [cork for cork in self.holding if cork.held and cork.has_turns_left()]
        if self.holding:
            loop.call_soon(self._turn, loop)


class Cork:
    """A transport that holds the head of an answer for the moment that its body takes to come.

    Uvicorn writes head and body apart. A worker that is killed in between leaves half an answer, which no
    proxy can ask another worker for; and each write costs a system call and often a packet.

    It holds one piece: the next one takes it along, and the end of the answer flushes it.
    """

    __slots__ = (
        "_corks",
        "_loop",
        "_turns_left",
        "get_extra_info",
        "held",
        "is_closing",
        "pause_reading",
        "resume_reading",
        "transport",
    )

    def __init__(self, transport: asyncio.Transport, corks: Corks, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.held = b""
        self._turns_left = 0
        self._corks, self._loop = corks, loop
        # Asked for every request: looked up once.
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        if self.held or len(data) > HELD_BYTES:
            data, self.held = self.held + data, b""
            if not self.is_closing():
                self.transport.write(data)
        elif data:
            self.held, self._turns_left = data, TURNS
            holding = self._corks.holding
            holding.append(self)
            if len(holding) == 1:
                self._corks.look_after(self._loop)

    def has_turns_left(self) -> bool:
        self._turns_left -= 1
        if not self._turns_left:
            self.flush()
        return self._turns_left > 0

    def flush(self) -> None:
        """Called at the end of an answer."""
        if self.held:
            data, self.held = self.held, b""
            if not self.is_closing():
                self.transport.write(data)

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def write_eof(self) -> None:
        self.flush()
        self.transport.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
