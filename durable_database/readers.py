"""Reads: what takes microseconds runs on the event loop, anything else in a thread of its own."""

import asyncio
import sqlite3
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from durable_database import statements
from durable_database.compiler import Arguments, Plan
from durable_database.errors import PoolTimeout
from durable_database.lane import OPTIONS, Lane, file_uri, settle
from durable_database.records import Record
from durable_database.statements import Want, shape_of

# A hop to a thread and back costs ten times as much as a read by key. On the event loop a read may use so
# many of SQLite's instructions, about 0.1 ms; one that wants more is ended, and runs in a thread from then
# on.
STEP_INSTRUCTIONS = 50
BUDGET_STEPS = 30
# A slow disk shows in time only: looked at after each step.
MOST_SECONDS = 0.002
# For so many times as long as the disk kept the event loop, all reads use threads.
REST = 20
# What else is on the event loop has its turn after so much reading, by however many tasks.
TURN_SECONDS = 0.0002
FIRST_ROWS = 128
MOST_ROWS = 512

if sys.platform == "linux":
    import resource

OVER: Any = object()


class Inline:
    """A connection of the event loop's own, for reads that take microseconds."""

    def __init__(self, path: str, pragmas: list[str]) -> None:
        self.raw = sqlite3.connect(file_uri(path), **OPTIONS)
        for pragma in pragmas:
            self.raw.execute(f"PRAGMA {pragma}").close()
        self.raw.set_progress_handler(self._step, STEP_INSTRUCTIONS)
        self._steps = 0
        self._started = 0.0
        self._rest_until = 0.0
        self._spent = 0.0
        self._turning = False
        self._disk_reads = _disk_reads()

    def _step(self) -> bool:
        # SQLite counts instructions over all uses of a statement: what is counted here are steps of this one.
        self._steps -= 1
        return self._steps < 0 or time.perf_counter() - self._started > MOST_SECONDS

    def takes(self, plan: Plan) -> bool:
        return not plan.over_budget and (not self._rest_until or time.perf_counter() > self._rest_until)

    def run(self, plan: Plan, arguments: Arguments, want: Want) -> Any:
        """OVER when it is to run in a thread instead: too much work, or the file is busy."""
        self._steps = BUDGET_STEPS
        self._started = started = time.perf_counter()
        try:
            return statements.run(self.raw, plan, arguments, want)
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_INTERRUPT:
                plan.over_budget = self._steps < 0
            elif code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            return OVER
        finally:
            ended = time.perf_counter()
            self._spent += ended - started
            if ended - started > MOST_SECONDS and self._disk_was_read():
                self._rest_until = ended + (ended - started) * REST

    def _disk_was_read(self) -> bool:
        """Else the machine is busy, and a thread would wait for it too."""
        before, self._disk_reads = self._disk_reads, _disk_reads()
        return self._disk_reads != before

    async def wait_for_turn(self) -> None:
        """Returns at once, unless reads have had their time in this turn of the loop, those of all tasks."""
        while self._spent > TURN_SECONDS:
            if not self._turning:
                self._turning = True
                asyncio.get_running_loop().call_soon(self._turn)
            await asyncio.sleep(0)

    def _turn(self) -> None:
        self._turning = False
        self._spent = 0.0


def _disk_reads() -> float:
    """By this thread; a number that changes, where nobody counts them."""
    if sys.platform != "linux":
        return time.perf_counter()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


class Readers:
    def __init__(
        self,
        inline: Inline | None,
        lanes: list[Lane],
        acquire_seconds: float,
        observe: Callable[[str, float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._inline = inline
        self._lanes = deque(lanes)
        self._waiting: deque[asyncio.Future[Lane]] = deque()
        self._acquire_seconds = acquire_seconds
        self._observe = observe

    @property
    def free(self) -> int:
        return len(self._lanes)

    async def run(self, plan: Plan, arguments: Arguments, want: Want) -> Any:
        inline = self._inline
        if inline is not None and inline.takes(plan):
            await inline.wait_for_turn()
            found = inline.run(plan, arguments, want)
            if found is not OVER:
                return found
        return await self.call(lambda lane: statements.run(lane.raw, plan, arguments, want))

    async def call(self, function: Callable[[Lane], Any]) -> Any:
        """What `function` returns in the thread of a lane that it has for itself."""
        lane = self._lanes.popleft() if self._lanes else await self.lease()
        future: asyncio.Future[Any] = self._loop.create_future()
        running: list[bool] = []

        def back(error: BaseException | None, value: Any) -> None:
            self.give_back(lane)  # when its thread has really done with it
            settle([(future, error, value)])

        def job() -> None:
            if future.cancelled():
                return lane.tell(self.give_back, lane)
            running.append(True)
            try:
                value = function(lane)
            except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
                running.clear()
                return lane.tell(back, error, None)
            running.clear()
            return lane.tell(back, None, value)

        lane.post(job)
        try:
            return await future
        except asyncio.CancelledError:
            if running:
                lane.raw.interrupt()
            raise

    async def lease(self) -> Lane:
        """A lane of one's own, to be given back."""
        if self._lanes:
            return self._lanes.popleft()
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
        self._lanes.append(lane)

    def close(self) -> None:
        if self._inline is not None:
            self._inline.raw.close()


class Cursor:
    """Rows of a long result, in chunks. Its methods run in the lane's thread."""

    def __init__(self, plan: Plan, arguments: Arguments) -> None:
        self._plan = plan
        self._arguments = arguments
        self._cursor: sqlite3.Cursor | None = None

    def more(self, raw: sqlite3.Connection, rows: int) -> list[Record]:
        if self._cursor is None:
            self._cursor = raw.execute(self._plan.sql, self._arguments)
        found = self._cursor.fetchmany(rows)
        return shape_of(self._plan, self._cursor).records(found) if found else []

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()


async def stream(readers: Readers, plan: Plan, arguments: Arguments) -> AsyncGenerator[Record, None]:
    """On a lane of its own: the consumer may write meanwhile, or never come back."""
    lane = await readers.lease()
    cursor = Cursor(plan, arguments)

    def close() -> None:
        cursor.close()
        lane.tell(readers.give_back, lane)

    try:
        async for record in in_chunks(lambda rows: lane.call(cursor.more, lane.raw, rows)):
            yield record
    finally:
        lane.post(close)


async def in_chunks(more: Callable[[int], Awaitable[list[Record]]]) -> AsyncGenerator[Record, None]:
    """Nothing is read ahead: in a transaction a later chunk must see what was written meanwhile."""
    size = FIRST_ROWS
    while True:
        records = await more(size)
        for record in records:
            yield record
        if len(records) < size:
            return
        size = min(size * 2, MOST_ROWS)
