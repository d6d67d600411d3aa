"""Reads: what takes microseconds runs on the event loop, anything else in a thread of its own."""

import asyncio
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from durable_database import statements
from durable_database.errors import PoolTimeout, sqlite_code
from durable_database.lane import OPTIONS, Lane, Outcome, file_uri, outcome, settle
from durable_database.location import FileIdentity
from durable_database.statements import Statement

# A hop to a thread and back costs ten times as much as a read by key. On the event loop a read may use so
# many of SQLite's instructions, about 0.1 ms; one that wants more is ended, and runs in a thread from then
# on.
STEP_INSTRUCTIONS = 250  # at each step the thread takes the GIL again, and may have to wait for it
BUDGET_STEPS = 6
# A slow disk shows in time only: looked at after each step.
MOST_SECONDS = 0.002
# For so many times as long as the disk kept the event loop, all reads use threads.
REST = 20
# What else is on the event loop has its turn after so much reading, by however many tasks.
TURN_SECONDS = 0.0002
READS_A_TURN = 20
# How long the event loop leaves the GIL after that to lanes that are at work. SQLite gives it up for a few us
# at a time, too short for a thread to wake up in: each of a lane's turns would take Python's 5 ms.
YIELD_SECONDS = 0.00002

if sys.platform == "linux":
    import resource

OVER: Any = object()


class Inline:
    """A connection of the event loop's own, for reads that take microseconds."""

    def __init__(
        self, path: str, file: FileIdentity, pragmas: list[str], lanes_work: Callable[[], bool]
    ) -> None:
        self.raw = sqlite3.connect(file_uri(path), **OPTIONS)
        for pragma in pragmas:
            self.raw.execute(f"PRAGMA {pragma}").close()
        self.raw.set_progress_handler(self._step, STEP_INSTRUCTIONS)
        self._file = file
        self._lanes_work = lanes_work
        self._steps = 0
        self._started = 0.0
        self._rest_until = 0.0
        self._disk_reads = disk_reads()
        self.spent = 0.0  # seconds, by the reads of all tasks in this turn of the loop
        self.waiting: deque[asyncio.Future[None]] = deque()

    def _step(self) -> bool:
        # SQLite counts instructions over all uses of a statement: what is counted here are steps of this one.
        self._steps -= 1
        return self._steps < 0 or time.perf_counter() - self._started > MOST_SECONDS

    def run(self, statement: Statement) -> Any:
        """Runs a read. Returns OVER if it has to run in a thread: too much work, or the file is busy."""
        self._started = started = time.perf_counter()
        if statement.plan.over_budget or started < self._rest_until:
            return OVER
        if started > self._file.look_at:
            self._file.look()
        self._steps = BUDGET_STEPS
        try:
            return statements.run(self.raw, statement)
        except sqlite3.OperationalError as error:
            code = sqlite_code(error)
            if code == sqlite3.SQLITE_INTERRUPT:
                statement.plan.over_budget = self._steps < 0
                # Python 3.11 prepares a statement that was interrupted anew for each use, in 9 us; this is
                # another one to it.
                statement.plan.sql += " "
            elif code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY):
                raise
            return OVER
        finally:
            seconds = time.perf_counter() - started
            self.spent += seconds
            if seconds > MOST_SECONDS:
                self._rest_if_the_disk_was_read(seconds)

    def _rest_if_the_disk_was_read(self, seconds: float) -> None:
        # Else the machine is busy, and a thread would wait for it too.
        before, self._disk_reads = self._disk_reads, disk_reads()
        if self._disk_reads != before:
            self._rest_until = time.perf_counter() + seconds * REST

    async def turn(self) -> None:
        """Returns in a turn of the loop that has time for a read. First come, first served.

        To be awaited where `spent` is more than TURN_SECONDS, or others are `waiting`.
        """
        loop = asyncio.get_running_loop()
        queue = self.waiting.append
        while True:
            if not self.waiting:
                loop.call_soon(self._begin_turn)
            waiting = loop.create_future()
            queue(waiting)
            await waiting
            if self.spent <= TURN_SECONDS:
                return
            queue = self.waiting.appendleft

    def _begin_turn(self) -> None:
        self.spent = 0.0
        if self._lanes_work():
            time.sleep(YIELD_SECONDS)
        # Not all of them: most would find the time used up, and to wake each costs as much as a read.
        for _ in range(min(len(self.waiting), READS_A_TURN)):
            if not (waiting := self.waiting.popleft()).done():
                waiting.set_result(None)
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._begin_turn)


def disk_reads() -> float:
    """By this thread; a number that changes, where nobody counts them."""
    if sys.platform != "linux":
        return time.perf_counter()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


class Readers:
    """The lanes for reads, each for one reader at a time."""

    def __init__(
        self, lanes: list[Lane], acquire_seconds: float, observe: Callable[[str, float], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._acquire_seconds = acquire_seconds
        self._observe = observe
        self._lanes: asyncio.LifoQueue[Lane] = asyncio.LifoQueue()
        for lane in lanes:
            self.give_back(lane)

    @property
    def free(self) -> int:
        return self._lanes.qsize()

    async def run(self, function: Callable[[Lane], Any]) -> Any:
        """Runs `function` in the thread of a lane of its own, and returns the result."""
        lane = await self.lease()
        future: asyncio.Future[Any] = self._loop.create_future()

        def job() -> None:
            found = (future, None, None) if future.cancelled() else outcome(future, function, lane)
            lane.tell(back, found)

        def back(found: Outcome) -> None:
            self.give_back(lane)  # when its thread has really done with it
            settle([found])

        lane.post(job)
        try:
            return await future
        except asyncio.CancelledError:
            lane.raw.interrupt()
            raise

    async def lease(self) -> Lane:
        """A lane of one's own, to be given back."""
        if not self._lanes.empty():
            return self._lanes.get_nowait()
        started = self._loop.time()
        try:
            async with asyncio.timeout(self._acquire_seconds):
                return await self._lanes.get()
        except TimeoutError:
            seconds = self._acquire_seconds
            raise PoolTimeout(f"no database connection became free in {seconds:g} s") from None
        finally:
            self._observe("pool_wait_seconds", self._loop.time() - started)

    def give_back(self, lane: Lane) -> None:
        self._lanes.put_nowait(lane)
