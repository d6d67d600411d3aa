"""The SQLite backend: per process one writer and a few readers, opened once, on one file in WAL mode."""

import asyncio
import queue
import sqlite3
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from databases import DatabaseURL
from sqlalchemy.dialects.sqlite import pysqlite

from durable_database import statements
from durable_database.errors import sqlite_code
from durable_database.lane import Lane, Readers, connect
from durable_database.location import FileIdentity, require_file_url
from durable_database.statements import Compiler, Record, Statement, Work
from durable_database.transaction import (
    OpenTransaction,
    Run,
    inside,
    outcome,
    refuse_child_task,
    run_in_transaction,
    settle,
)
from durable_database.writer import Gate, Kind, Writer

# For strangers, as a backup or the sqlite3 shell; our own processes queue at the gate.
BUSY_MILLISECONDS = 5000
READERS = 3
# The WAL is cut to this when it is started anew after a burst, or after a long read that held it.
WAL_BYTES = 64 * 1024 * 1024
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
# How long the event loop leaves the GIL after that to lanes that are at work. SQLite gives it up for a few us
# at a time, too short for a thread to wake up in: each of a lane's turns would take Python's 5 ms.
YIELD_SECONDS = 0.00002

if sys.platform == "linux":
    import resource

OVER: Any = object()


def _pragmas(busy_milliseconds: int) -> list[str]:
    # FULL: a commit that was acknowledged survives a power cut. Group commit buys back more than it costs.
    return [f"busy_timeout={busy_milliseconds}", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"]


class SQLiteBackend:
    """`inline_reads=False` has all reads run in threads; seconds bound the waits: see docs/database.md."""

    new_inbox = queue.SimpleQueue
    readers: Readers
    writer: Writer

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        acquire_seconds: float = 5.0,
        transaction_seconds: float = 10.0,
        inline_reads: bool = True,
        observe: Callable[[str, float], None] = lambda name, value: None,
    ) -> None:
        self._path = require_file_url(DatabaseURL(url))
        self._acquire_seconds = acquire_seconds
        self._transaction_seconds = transaction_seconds
        self._inline_reads = inline_reads
        self._inline: Inline | None = None
        self.observe = observe
        self._lanes: list[Lane] = []
        self.open_transactions: set[OpenTransaction] = set()
        self.compiler = Compiler(pysqlite.dialect())

    async def connect(self) -> None:
        gate = Gate(self._path)
        try:
            self._file = FileIdentity(self._path)
            writer = await self._open("journal_mode=WAL", f"journal_size_limit={WAL_BYTES}")
            lanes = [await self._open("query_only=ON") for _ in range(READERS)]
            if self._inline_reads:
                self._inline = Inline(
                    self._path, self._file, [*_pragmas(0), "query_only=ON"], self._lanes_work
                )
            gate.open()
        except BaseException:
            await self._close()
            raise
        self.writer = Writer(writer, gate, Path(f"{self._path}-wal"), self._acquire_seconds, self.observe)
        self.readers = Readers(lanes, self._acquire_seconds, self.observe)

    async def _open(self, *pragmas: str) -> Lane:
        lane = await Lane.open(
            self._path, [*_pragmas(BUSY_MILLISECONDS), *pragmas], self._transaction_seconds
        )
        self._lanes.append(lane)
        return lane

    async def disconnect(self) -> None:
        for transaction in list(self.open_transactions):
            await transaction.end(committed=False)
        # The writer last, and behind the gate: the last connection that closes a file checkpoints it.
        self.writer.lane.post(self.writer.gate.acquire)
        await self._close()
        self.writer.gate.close()

    async def _close(self) -> None:
        if self._inline is not None:
            self._inline.raw.close()
            self._inline = None
        while self._lanes:
            await self._lanes.pop().close()

    def _lanes_work(self) -> bool:
        return self.writer.busy or self.readers.free < READERS

    async def do(self, work: Work) -> Any:
        inline = self._inline
        if inline is not None and isinstance(work, Statement) and not work.plan.writes:
            is_late = inline.waiting or inline.spent > TURN_SECONDS
            found = await inline.run_in_turn(work) if is_late else inline.run(work)
            if found is not OVER:
                return found
        return await self._do_in_thread(work)

    async def _do_in_thread(self, work: Work) -> Any:
        is_statement = isinstance(work, Statement)
        if not work.writes:
            self._file.look()
            try:
                run = self.readers.run if is_statement else self.read
                return await run(lambda lane: lane.run(work))
            except sqlite3.OperationalError as error:
                if not isinstance(work, Statement) or error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
                    raise
                work.plan.writes = True  # WITH ... INSERT, for one: now it is known
        refuse_child_task()
        return await self.write(
            lambda lane: lane.run(work), Kind.STATEMENT if is_statement else Kind.FUNCTION
        )

    def write(self, run: Run, kind: Kind) -> "asyncio.Future[Any]":
        self._file.check()  # each time: a write to a file that nobody finds would be acknowledged and lost
        return self.writer.submit(run, kind)

    async def read(self, run: Run) -> Any:
        """Runs a read in a transaction: all statements of `run` see one state."""
        return await self.readers.run(partial(run_in_transaction, "BEGIN", run))

    def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        """Streams on a lane of its own: the consumer may write meanwhile, or never come back."""
        transaction = self.transaction(readonly=not statement.writes)
        transaction.limited = False
        return transaction.stream(statement, is_all=True)

    def transaction(self, *, readonly: bool = False) -> OpenTransaction:
        if readonly:
            return OpenTransaction(self, self.read, limited=True)
        # For writing: one that reads and then writes would fail when another wrote in between.
        refuse_child_task()
        transaction = OpenTransaction(self, self._take_writer, limited=True)
        inside.set(transaction)
        return transaction

    def _take_writer(self, serve: Run) -> "asyncio.Future[Any]":
        since = time.monotonic()

        def run(lane: Lane) -> Any:
            lane.tell(self.observe, "pool_wait_seconds", time.monotonic() - since)
            return serve(lane)

        return self.write(run, Kind.TRANSACTION)


class Inline:
    """A connection of the event loop's own, for reads that take microseconds."""

    def __init__(
        self, path: str, file: FileIdentity, pragmas: list[str], lanes_work: Callable[[], bool]
    ) -> None:
        self.raw = connect(path, pragmas)
        self.raw.set_progress_handler(self._step, STEP_INSTRUCTIONS)
        self._file = file
        self._lanes_work = lanes_work
        self._steps = 0
        self._started = 0.0
        self._rest_until = 0.0
        self._disk_reads = disk_reads()
        self.spent = 0.0  # seconds, by the reads of all tasks in this turn of the loop
        self.waiting: deque[tuple[Statement, asyncio.Future[Any]]] = deque()

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

    def run_in_turn(self, statement: Statement) -> "asyncio.Future[Any]":
        """Runs a read in a turn of the loop that has time for it, and returns as `run`. First come, first
        served.

        To be called where `spent` is more than TURN_SECONDS, or others are `waiting`.
        """
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self._turn)
        found = loop.create_future()
        self.waiting.append((statement, found))
        return found

    def _turn(self) -> None:
        self.spent = 0.0
        if self._lanes_work():
            time.sleep(YIELD_SECONDS)
        # Read here, and not in their tasks: each wakes up once, with what it waits for.
        while self.waiting and self.spent <= TURN_SECONDS:
            statement, found = self.waiting.popleft()
            if not found.cancelled():
                settle([outcome(found, self.run, statement)])
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._turn)


def disk_reads() -> float:
    """By this thread; a number that changes, where nobody counts them."""
    if sys.platform != "linux":
        return time.perf_counter()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
