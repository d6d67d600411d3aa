"""What all connections of a worker share survives the failure of one."""

import asyncio
import logging
from typing import Any

import pytest

from coachman.edge.connection_table import ConnectionTable
from coachman.edge.rejection import RejectionCounts
from coachman.edge.write_buffer import GRACE_TURNS, WriteBuffer, WriteBuffers
from tests.unit.coachman.edge.test_http import LIMITS


class Transport(asyncio.Transport):
    """Keeps what is written; one that is broken raises, as after write_eof."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.written = b""
        self._broken = broken

    def write(self, data: Any) -> None:
        if self._broken:
            raise RuntimeError("Cannot call write() after write_eof()")
        self.written += data

    def write_eof(self) -> None:
        self._broken = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def turns(count: int = GRACE_TURNS + 2) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_write_that_fails_leaves_the_write_buffers_of_others(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        buffers, loop = WriteBuffers(), asyncio.get_running_loop()
        transports = [Transport(), Transport(broken=True), Transport()]
        for transport in transports:
            WriteBuffer(transport, buffers, loop).write(b"head")
        await turns()
        assert [transport.written for transport in transports] == [b"head", b"", b"head"]
        assert buffers.pending == []
        later = Transport()
        WriteBuffer(later, buffers, loop).write(b"head")
        await turns()
        assert later.written == b"head"

    asyncio.run(run())

    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_nothing_is_written_behind_the_end_of_the_sending_side() -> None:
    async def run() -> bytes:
        transport = Transport()
        buffer = WriteBuffer(transport, WriteBuffers(), asyncio.get_running_loop())
        buffer.write(b"held")
        buffer.write_eof()
        for piece in (b"small", b"." * 100_000):
            buffer.write(piece)
        await turns()
        assert buffer.is_closing()
        return transport.written

    assert asyncio.run(run()) == b"held"


class Connection:
    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken
        self.checked = 0
        self.ended: list[bool] = []

    def check_deadlines(self, now: float) -> None:
        self.checked += 1
        if self._broken:
            raise AttributeError("a fault of ours")

    def open_seconds(self, now: float) -> float:
        return 0.0

    def idle_since(self) -> float | None:
        return 0.0

    def end(self, *, at_once: bool) -> None:
        self.ended.append(at_once)
        if self._broken:
            raise AttributeError("another fault of ours")


def test_a_connection_whose_deadlines_fail_is_ended_and_the_others_keep_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = ConnectionTable(LIMITS, RejectionCounts())
    sound, broken = [Connection(), Connection()], Connection(broken=True)
    table.connections = {*sound, broken}
    for now in (1, 2):
        table.sweep(now)

    assert broken.ended == [True]
    assert (broken.checked, [connection.checked for connection in sound]) == (1, [2, 2])
    assert len(caplog.records) == 1


def test_idle_connections_are_evicted_to_below_the_limit() -> None:
    table = ConnectionTable(LIMITS, RejectionCounts())
    connections = [Connection() for _ in range(LIMITS.connections + 1)]
    table.connections = set(connections)
    table.evict_idle(len(connections), now=10)

    assert sum(connection.ended == [False] for connection in connections) == 11
    assert table.rejections.take_summary() == "11 evicted (COACHMAN_CONNECTIONS)"


def test_an_eviction_that_fails_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    table = ConnectionTable(LIMITS, RejectionCounts())
    connections = [Connection(broken=True), *(Connection() for _ in range(LIMITS.connections))]
    connections[0].idle_since = lambda: -1.0  # type: ignore[method-assign]  # the first in turn
    table.connections = set(connections)
    table.evict_idle(len(connections), now=10)

    assert connections[0].ended == [False, True]
    assert connections[0] not in table.connections
    assert sum(connection.ended == [False] for connection in connections) == 10
    assert len(caplog.records) == 1


def test_connections_within_what_the_service_has_room_for_are_heard_and_not_evicted() -> None:
    table = ConnectionTable(LIMITS, RejectionCounts())
    connections = [Connection() for _ in range(LIMITS.connections + 30)]
    table.connections = set(connections)
    table.allow(LIMITS.connections + 50, now=10)
    assert table.has_room(len(connections), now=10)
    assert not any(connection.ended for connection in connections)

    table.allow(LIMITS.connections + 20, now=11)  # others have more
    evicted = [connection for connection in connections if connection.ended]
    assert len(evicted) == 22, "a tenth of the limit is free again"
    assert table.has_room(150, now=11)
    assert not table.has_room(151, now=11)
