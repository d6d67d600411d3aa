import asyncio
from types import SimpleNamespace
from typing import Any

from coachman.serving.drain import Drain


class SilentConnection:
    """One that has not asked anything yet."""

    cycle = headers = None

    def __init__(self, connections: set[Any]) -> None:
        self.shutdown = connections.clear


async def on_tick(_: int) -> None:
    """Uvicorn's server has one."""


def test_a_connection_that_was_just_accepted_may_ask_as_long_as_the_others() -> None:
    state = SimpleNamespace(connections=set(), tasks=set(), default_headers=[])
    config = SimpleNamespace(encoded_headers=[])
    server: Any = SimpleNamespace(server_state=state, config=config, on_tick=on_tick)

    async def drain() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        loop.call_soon(state.connections.add, SilentConnection(state.connections))
        await Drain(server, seconds=5, keepalive_seconds=0.3).run()
        return loop.time() - begun

    assert 0.3 <= asyncio.run(drain()) < 3
