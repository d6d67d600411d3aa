import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from coachman.serving.drain import Drain


class SilentConnection:
    """One that has not asked anything yet."""

    cycle = headers = None

    def __init__(self, connections: set[Any]) -> None:
        self.shutdown = connections.clear


async def on_tick(_: int) -> None:
    """Uvicorn's server has one."""


def serving(*connections: Any) -> Any:
    """A server with these connections."""
    state = SimpleNamespace(connections=set(connections), tasks=set(), default_headers=[])
    config = SimpleNamespace(encoded_headers=[])
    return SimpleNamespace(server_state=state, config=config, on_tick=on_tick)


def test_a_connection_that_was_just_accepted_may_ask_as_long_as_the_others() -> None:
    server = serving()
    state = server.server_state

    async def drain() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        loop.call_soon(state.connections.add, SilentConnection(state.connections))
        await Drain(server, seconds=120, keepalive_seconds=0.3).run()
        return loop.time() - begun

    assert 0.3 <= asyncio.run(drain()) < 60


class Websocket:
    """One that ends when it is closed or aborted, or that cannot be closed."""

    handshake_complete = True

    def __init__(self, *, broken: bool = False) -> None:
        self.connections: set[Any] = set()
        self.ends: list[str] = []
        self.broken = broken
        self.transport = SimpleNamespace(is_closing=lambda: False, abort=lambda: self.end("aborted"))

    def shutdown(self) -> None:
        if self.broken:
            raise RuntimeError("connection is closing")
        self.end("closed")

    def end(self, how: str) -> None:
        self.ends.append(how)
        self.connections.discard(self)


def test_a_connection_that_cannot_be_closed_is_aborted_and_the_others_are_drained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    websockets = [Websocket(), Websocket(broken=True), Websocket()]
    server = serving(*websockets)
    for websocket in websockets:
        websocket.connections = server.server_state.connections

    asyncio.run(Drain(server, seconds=5, keepalive_seconds=5).run())

    assert [websocket.ends for websocket in websockets] == [["closed"], ["aborted"], ["closed"]]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
