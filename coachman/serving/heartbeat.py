"""Updates the worker's scoreboard row every 100 ms. A stale row means a blocked event loop."""

import asyncio
import os
import sys
import time
from typing import Any

from coachman.edge.connection_table import ConnectionTable
from coachman.metrics.counters import Metrics
from coachman.serving.balance import ConnectionShare
from coachman.serving.server import Server
from coachman.state.scoreboard import Slot
from coachman.state.traffic_table import TrafficTable
from coachman.system import stdio
from coachman.system.process import rss_bytes

TICK_SECONDS = 0.1
TICKS_PER_SAMPLE = 10


class Heartbeat:
    """Sends heartbeats from before the application's start-up until after its shutdown."""

    def __init__(
        self,
        slot: Slot | None,
        server: Server,
        master_pid: int | None,
        table: ConnectionTable,
        metrics: Metrics | None = None,
        share: ConnectionShare | None = None,
        traffic: TrafficTable | None = None,
    ) -> None:
        self._slot, self._server, self._master_pid = slot, server, master_pid
        self._traffic = traffic
        self._table, self._metrics, self._share = table, metrics, share
        self._pool = _ThreadPool()
        self._lag = _Lag(metrics)
        self._cpu_seconds = self._lines_dropped = 0.0

    async def run(self) -> None:
        tick = 0
        while True:
            if self._master_pid not in (None, os.getppid()):  # where the kernel has not ended us already
                self._server.stop_quickly()
            if tick % TICKS_PER_SAMPLE == 0:
                self._server.keep_signals()
            if self._slot is not None:
                self._slot.update(
                    **self._counts(), **(self._sample() if tick % TICKS_PER_SAMPLE == 0 else {})
                )
            if self._share is not None:
                self._tell(self._share)
            tick += 1
            await self._lag.sleep()

    def _tell(self, share: ConnectionShare) -> None:
        """Publishes this worker's load, and takes the connections' room that other workers leave."""
        share.beat(len(self._server.server_state.tasks), self._lag.latest)
        limits = self._table.limits
        self._table.allow(
            share.connection_limit(limits.connections, limits.most_connections), time.monotonic()
        )

    def _counts(self) -> dict[str, Any]:
        state = self._server.server_state
        return {
            "beat": time.monotonic(),
            "requests": state.total_requests,
            "in_flight": len(state.tasks),
            "connections": len(state.connections),
            "busy_seconds": self._table.busy_seconds,
        }

    def _sample(self) -> dict[str, Any]:
        """Samples what changes slowly, or costs more to find out."""
        self._count()
        if self._traffic is not None and self._slot is not None:
            now = time.monotonic()
            self._traffic.write_work(self._slot.number, now, self._table.work(now))
        return {
            "rss": rss_bytes(),
            "cpu_seconds": self._cpu_seconds,
            "loop_lag": self._lag.worst(),
            "pool_stuck_since": self._pool.stuck_since(),
            **self._pool.use(),
            "lines_dropped": stdio.lines_dropped(),
        }

    def _count(self) -> None:
        """Adds what has been used since the last sample to the counts of the slot."""
        assert self._slot is not None
        cpu_seconds, lines_dropped = time.process_time(), stdio.lines_dropped()
        if self._metrics is not None:
            self._metrics.cpu.labels(str(self._slot.number)).inc(cpu_seconds - self._cpu_seconds)
            self._metrics.lines_dropped.inc(lines_dropped - self._lines_dropped)
        self._cpu_seconds, self._lines_dropped = cpu_seconds, lines_dropped


class _Lag:
    """Event loop lag: how late a 100 ms sleep wakes up."""

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics, self._worst = metrics, 0.0
        self.latest = 0.0

    async def sleep(self) -> None:
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        self.latest = lag = max(0.0, time.monotonic() - due)
        self._worst = max(self._worst, lag)
        if self._metrics is not None:
            self._metrics.lag.observe(lag)

    def worst(self) -> float:
        """Returns the largest lag since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst


class _ThreadPool:
    """Watches anyio's thread pool, which runs plain `def` endpoints.

    Busy is not stuck: while work waits, whoever ends makes room for the next, so those who hold a
    thread change. A no-op sent through the pool would wait as long behind a crowd as behind a deadlock.
    """

    def __init__(self) -> None:
        self._holders: frozenset[Any] = frozenset()
        self._since = self._polled_at = 0.0

    def stuck_since(self) -> float:
        """Since when calls have waited and no thread has finished, monotonic; 0 while the pool moves."""
        statistics = self._statistics()
        if statistics is None or not statistics.tasks_waiting:
            self._holders, self._since = frozenset(), 0.0
            return 0.0
        holders, now = frozenset(statistics.borrowers), time.monotonic()
        was_paused = now - self._polled_at > 2 * TICKS_PER_SAMPLE * TICK_SECONDS
        if holders != self._holders or was_paused:
            self._holders, self._since = holders, now
        self._polled_at = now
        return self._since

    def use(self) -> dict[str, int]:
        statistics = self._statistics()
        if statistics is None:
            return {"threads": 0, "threads_busy": 0, "threads_waiting": 0}
        return {
            "threads": int(statistics.total_tokens),
            "threads_busy": statistics.borrowed_tokens,
            "threads_waiting": statistics.tasks_waiting,
        }

    def _statistics(self) -> Any:
        if "anyio" not in sys.modules:  # an application without it
            return None
        from anyio.to_thread import current_default_thread_limiter

        return current_default_thread_limiter().statistics()
