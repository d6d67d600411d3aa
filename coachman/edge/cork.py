"""One write for head and body of an answer."""

import asyncio
from typing import Any

FLUSH_BYTES = 64 * 1024
TURNS = 10  # of the loop; Starlette's middleware hands the body on some turns after the head


class Cork:
    """A transport that holds the head of an answer for the moment that its body takes to come.

    Uvicorn writes head and body apart. A worker that is killed in between leaves half an answer, which no
    proxy can ask another worker for; and each write costs a system call and often a packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._call_soon = loop.call_soon
        self._held: list[bytes] = []
        self._held_bytes = self._turns_left = 0
        self._is_turning = False
        # Asked for every request: looked up once.
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._turns_left = TURNS
            self._turn_again()
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > FLUSH_BYTES:  # the transport says when to pause only once it has the bytes
            self.flush()

    def _turn_again(self) -> None:
        if not self._is_turning:
            self._is_turning = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        self._is_turning = False
        self._turns_left -= 1
        if self._turns_left <= 0:
            self.flush()
        elif self._held:
            self._turn_again()

    def flush(self) -> None:
        """Called as soon as an answer is complete."""
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            if not self.transport.is_closing():
                self.transport.write(b"".join(held) if len(held) > 1 else held[0])

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def write_eof(self) -> None:
        self.flush()
        self.transport.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
