"""Ten times a second a worker writes its row: that it can proves that its event loop turns."""

import asyncio
import os
import sys
import time
from typing import Any

from coachman import output
from coachman.backoff import QUIET_SECONDS
from coachman.process import rss_bytes
from coachman.scoreboard import Slot, State
from coachman.server import Server

TICK_SECONDS = 0.1
TICKS_PER_SAMPLE = 10


class Heartbeat:
    """From before the application's start-up to after its shutdown."""

    def __init__(self, slot: Slot | None, server: Server, master_pid: int) -> None:
        self._slot, self._server, self._master_pid = slot, server, master_pid
        self._pool = _ThreadPool()

    async def run(self) -> None:
        tick = 0
        while True:
            if os.getppid() != self._master_pid:  # where the kernel has not ended us already
                self._server.stop_quickly()
            if self._slot is not None:
                self._slot.update(
                    **self._counts(), **(self._sample() if tick % TICKS_PER_SAMPLE == 0 else {})
                )
            tick += 1
            await asyncio.sleep(TICK_SECONDS)

    def _counts(self) -> dict[str, Any]:
        state = self._server.server_state
        return {
            "beat": time.monotonic(),
            "requests": state.total_requests,
            "in_flight": len(state.tasks),
            "connections": len(state.connections),
        }

    def _sample(self) -> dict[str, Any]:
        """What changes slowly or costs more to find out."""
        assert self._slot is not None
        row = self._slot.read()
        quiet = row.state == State.READY and time.time() - row.since > QUIET_SECONDS
        return {
            "rss": rss_bytes(),
            "pool_stuck_since": self._pool.stuck_since(),
            "lines_dropped": output.lines_dropped(),
            "failures": 0 if quiet else row.failures,
        }


class _ThreadPool:
    """Anyio's, which runs the endpoints that are plain `def`.

    Busy is not stuck: while work waits, whoever ends makes room for the next, so those who hold a
    thread change. A no-op sent through the pool would wait as long behind a crowd as behind a deadlock.
    """

    def __init__(self) -> None:
        self._holders: frozenset[Any] = frozenset()
        self._since = self._looked_at = 0.0

    def stuck_since(self) -> float:
        """Since when work has waited and nothing has ended, monotonic; 0 while the pool moves."""
        statistics = self._statistics()
        if statistics is None or not statistics.tasks_waiting:
            self._holders, self._since = frozenset(), 0.0
            return 0.0
        holders, now = frozenset(statistics.borrowers), time.monotonic()
        was_paused = now - self._looked_at > 2 * TICKS_PER_SAMPLE * TICK_SECONDS
        if holders != self._holders or was_paused:
            self._holders, self._since = holders, now
        self._looked_at = now
        return self._since

    def _statistics(self) -> Any:
        if "anyio" not in sys.modules:  # an application without it
            return None
        from anyio.to_thread import current_default_thread_limiter

        return current_default_thread_limiter().statistics()
