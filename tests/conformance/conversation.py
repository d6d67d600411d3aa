"""Sends the requests of the table in three ways, and judges what comes back."""

import asyncio
import enum
import re
from collections.abc import Iterable

from tests.conformance.cases import Case

LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
SECONDS = 60.0  # a conversation without an end by then has none
CONVERSATIONS = 24  # at a time


class Manner(enum.Enum):
    WHOLE = "in one write, the next request once it is answered"
    BEHIND = "in one write, with the next request behind it"
    BYTES = "byte by byte, with the next request behind it"


class Client(asyncio.Protocol):
    """Keeps all that it receives, also where the connection ends in a reset."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.has_ended = False
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True
        self._changed.set()

    async def wait(self, *, for_response: bool = False, for_head: bool = False) -> None:
        """Until the connection ends, or the first response is complete, or its head."""
        while not self.has_ended:
            if for_response and is_complete(bytes(self.received)):
                return
            if for_head and b"\r\n\r\n" in self.received:
                return
            self._changed.clear()
            await self._changed.wait()


def is_complete(received: bytes) -> bool:
    """Whether there is a final response with all of its content, in which no status line stands."""
    head, separator, content = received.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    if not separator or head.startswith(b"100"):
        return False
    if head.startswith((b"204", b"304")):
        return True
    if b"transfer-encoding: chunked" in head:
        return content.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return length is not None and len(content) >= int(length[1])


def statuses(received: bytes) -> list[int]:
    """Of the final responses."""
    found = (int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received))
    return [status for status in found if status != 100]


def judge(case: Case, received: bytes, *, has_ended: bool) -> str:
    """What is wrong; nothing where it is as the RFC says."""
    if not has_ended and case.status != 101:
        return f"the connection stays open after {received[:300]!r}"
    expected = [case.status] + ([200] if case.keeps else [])
    if statuses(received) != expected:
        return f"{statuses(received)} in the place of {expected}: {received[:300]!r}"
    if case.keeps and b'"path": "/last"' not in received:
        return f"the next request was not understood: {received[-300:]!r}"
    first = received.rpartition(b"HTTP/1.1 ")[0] if case.keeps else received
    if case.has not in first:
        return f"{case.has!r} is missing in {first[:600]!r}"
    if case.lacks and case.lacks in first:
        return f"{case.lacks!r} is in {first[:600]!r}"
    return ""


async def converse(port: int, case: Case, manner: Manner) -> str:
    """What is wrong with one conversation."""
    received, has_ended = await conversation(port, case, manner)
    return judge(case, received, has_ended=has_ended)


async def conversation(port: int, case: Case, manner: Manner, seconds: float = SECONDS) -> tuple[bytes, bool]:
    """All that is received, and whether the server has ended the connection in time."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(Client, "127.0.0.1", port)
    # A HEAD is known to be answered by the end of the head alone.
    is_head_all = case.status == 101 or case.request.startswith(b"HEAD")
    try:
        async with asyncio.timeout(seconds):
            await _send(client, case, manner)
            if manner is Manner.WHOLE and case.keeps:
                await client.wait(for_response=not is_head_all, for_head=is_head_all)
                client.transport.write(LAST)
            await client.wait(for_head=case.status == 101)
    except TimeoutError:
        pass
    finally:
        transport.close()
    return bytes(client.received), client.has_ended


async def _send(client: Client, case: Case, manner: Manner) -> None:
    data = case.request + (b"" if manner is Manner.WHOLE or case.status == 101 else LAST)
    if manner is Manner.BYTES and len(data) < 2000:
        for byte in data:
            if not client.has_ended:
                client.transport.write(bytes([byte]))
                await asyncio.sleep(0)  # others' bytes come between
    else:
        client.transport.write(data)


async def failures(port: int, cases: Iterable[Case], manner: Manner) -> dict[str, str]:
    """What is wrong, by the case's name."""
    turn = asyncio.Semaphore(CONVERSATIONS)

    async def one(case: Case) -> tuple[str, str]:
        async with turn:
            return case.name, await converse(port, case, manner)

    return {name: wrong for name, wrong in await asyncio.gather(*map(one, cases)) if wrong}
