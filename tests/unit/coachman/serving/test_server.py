"""What a worker says of itself in its row of the scoreboard."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from coachman.ops.app import OpsApp
from coachman.serving.ops_server import OpsServer
from coachman.serving.server import Server
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import State


async def nothing(scope: Any, receive: Any, send: Any) -> None: ...


def row_at_the_end(step: float, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """Of a worker whose lifespan ends by itself, right after the clock has been set by `step` seconds."""
    slot = Scoreboard.create().slots[0]
    ops = OpsServer(OpsApp(None, None, [], folder), None)
    config = uvicorn.Config(nothing, lifespan="off", log_config=None)
    server = Server(config, ServerSettings(), slot, ops)
    clock = time.time

    async def live() -> None:
        async with asyncio.timeout(60):
            serving = asyncio.create_task(server.serve(sockets=[]))
            while slot.read().state != State.READY:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(time, "time", lambda: clock() + step)
            server.lifespan_has_ended("for a test")
            await serving

    asyncio.run(live())
    return slot.read()


@pytest.mark.parametrize(("step", "stable_seconds"), [(-3600, 0.0), (3600, 60.0)])
def test_a_clock_that_is_set_makes_no_worker_that_ends_itself_younger_or_older(
    step: float, stable_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has served for long is replaced at once; one that has not has failed, and its slot waits."""
    monkeypatch.setattr("coachman.state.view.STABLE_SECONDS", stable_seconds)
    row = row_at_the_end(step, tmp_path, monkeypatch)

    assert row.state == State.DRAINING
    assert bool(row.ready_at) is (stable_seconds == 0)
