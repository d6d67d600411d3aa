"""Reads: one hot lane takes all quick statements, in batches; spare lanes are for what is slow or long."""

import asyncio
import sqlite3
import time
from collections import deque
from typing import Any

from durable_database import statements
from durable_database.compiler import Arguments, Plan
from durable_database.errors import PoolTimeout
from durable_database.interfaces import Observe, Want
from durable_database.lane import Lane, Outcome, attempt, settle

BATCH = 64
# A statement that takes more than this, on average, gets a spare lane; the quick ones do not wait for it.
SLOW_SECONDS = 0.002
# The first time a statement proves slow it holds the hot lane: after so long the others pass it.
SPILL_SECONDS = 0.010
LEARNING_RATE = 0.1

Job = tuple[asyncio.Future[Any], Plan, Arguments, Want]


class Readers:
    """Several threads would not read faster: they contend for the interpreter's lock."""

    def __init__(self, lanes: list[Lane], acquire_seconds: float, observe: Observe) -> None:
        self._loop = asyncio.get_running_loop()
        self._hot, *spares = lanes
        self._spares = deque(spares)
        self._waiting: deque[asyncio.Future[Lane]] = deque()
        self._acquire_seconds = acquire_seconds
        self._observe = observe
        self._pending: list[Job] = []
        self._busy = False
        self._scheduled = False
        self._alone = True  # the last batch was of one: nobody would profit from waiting for company
        self._sent_at = 0.0
        self._spill: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        return len(self._spares)

    @property
    def idle(self) -> bool:
        return not self._busy and not self._pending

    async def run(self, plan: Plan, arguments: Arguments, want: Want) -> Any:
        if plan.seconds > SLOW_SECONDS:
            return await self._run_slow(plan, arguments, want)
        return await self._submit(plan, arguments, want)

    def _submit(self, plan: Plan, arguments: Arguments, want: Want) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending.append((future, plan, arguments, want))
        if self._busy:
            if self._spill is None:
                self._spill = self._loop.call_later(SPILL_SECONDS, self._spill_over)
        elif self._alone:
            self._flush()
        elif not self._scheduled:
            # What the other tasks of this turn of the loop ask comes into the same batch.
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def _take(self) -> list[Job]:
        batch = self._pending[:BATCH]
        del self._pending[:BATCH]
        return batch

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or not self._pending:
            return
        batch, hot = self._take(), self._hot
        self._busy = True
        self._alone = len(batch) == 1
        self._sent_at = self._loop.time()
        hot.post(lambda: hot.tell(self._done, _run_batch(hot.raw, batch)))

    def _done(self, outcomes: list[Outcome]) -> None:
        self._busy = False
        self._alone = self._alone and not self._pending
        if self._pending:
            self._flush()
        settle(outcomes)

    def _spill_over(self) -> None:
        """What waits behind a slow statement goes to a spare lane."""
        self._spill = None
        if not (self._busy and self._pending):
            return
        if self._spares and self._loop.time() - self._sent_at >= SPILL_SECONDS:
            lane, batch = self._spares.popleft(), self._take()

            def back(outcomes: list[Outcome]) -> None:
                settle(outcomes)
                self.give_back(lane)

            lane.post(lambda: lane.tell(back, _run_batch(lane.raw, batch)))
        self._spill = self._loop.call_later(SPILL_SECONDS, self._spill_over)

    async def _run_slow(self, plan: Plan, arguments: Arguments, want: Want) -> Any:
        lane = await self.lease()
        started: list[bool] = []

        def job() -> Any:
            started.append(True)
            try:
                return _timed(lane.raw, plan, arguments, want)
            finally:
                started.clear()

        future = lane.call(job)
        lane.post(lambda: lane.tell(self.give_back, lane))  # when its thread has really done with it
        try:
            return await future
        except asyncio.CancelledError:
            if started:
                lane.raw.interrupt()
            raise

    async def lease(self) -> Lane:
        """A lane of one's own, to be given back."""
        if self._spares:
            return self._spares.popleft()
        future: asyncio.Future[Lane] = self._loop.create_future()
        self._waiting.append(future)
        started = self._loop.time()
        try:
            async with asyncio.timeout(self._acquire_seconds):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self.give_back(future.result())
            if isinstance(error, TimeoutError):
                raise PoolTimeout(
                    f"no database connection became free in {self._acquire_seconds:g} s"
                ) from None
            raise
        finally:
            self._observe("pool_wait_seconds", self._loop.time() - started)

    def give_back(self, lane: Lane) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        self._spares.append(lane)


def _run_batch(raw: sqlite3.Connection, batch: list[Job]) -> list[Outcome]:
    return [
        attempt(future, _timed, raw, plan, arguments, want)
        for future, plan, arguments, want in batch
        if not future.cancelled()
    ]


def _timed(raw: sqlite3.Connection, plan: Plan, arguments: Arguments, want: Want) -> Any:
    started = time.thread_time()
    try:
        return statements.run(raw, plan, arguments, want)
    finally:
        plan.seconds += (time.thread_time() - started - plan.seconds) * LEARNING_RATE
