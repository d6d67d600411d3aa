"""Long-lived SQLite connections with their threads: one hop there and back for a whole batch."""

import asyncio
import contextlib
import math
import queue
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from durable_database import statements
from durable_database.errors import (
    PoolTimeout,
    TransactionControlError,
    TransactionTimeout,
    refuse_control,
    rolled_back,
    sqlite_code,
)
from durable_database.statements import Call, Record, Statement, Work
from durable_database.transaction import Outcome, Run, outcome, settle

CLOSE_SECONDS = 5
# SQLite looks at the time of a transaction after so many instructions, about 50 ms: not so often that the
# event loop would notice.
LOOK_INSTRUCTIONS = 5_000_000


def connect(path: str, pragmas: Iterable[str]) -> sqlite3.Connection:
    # mode=rw: a wrong path is an error, not a new and empty database.
    uri = f"file:{quote(path)}?mode=rw"
    raw = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=512, check_same_thread=False)
    try:
        for pragma in pragmas:
            raw.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        raw.close()
        raise
    return raw


class Lane:
    """The only place that touches what aiosqlite keeps private: its queue, its connection, its thread.

    aiosqlite's own methods wake the event loop once for each call. Here a job does the work of many
    callers and reports once: at 64 callers 1.8 times the reads of plain aiosqlite, on one core.
    """

    def __init__(self, connection: aiosqlite.Connection, seconds: float) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: Any = connection._tx
        self.raw: sqlite3.Connection = connection._conn
        self.until = math.inf
        self._seconds = seconds  # that a transaction may take
        self._cursors: list[Any] = []
        self._engine = sa.create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        self._lent: sa.Connection | None = None
        self._running = False
        self._take_over(self._engine.dialect)
        self.raw.set_progress_handler(lambda: time.monotonic() > self.until, LOOK_INSTRUCTIONS)

    def _take_over(self, dialect: Any) -> None:
        """The connection is lent: what ends a transaction, or the connection, is not its borrower's to do."""
        # The dialect's methods, not the engine's events, which cost 10 us for each statement.
        dialect.do_commit = lambda connection: self._refuse("commit()")
        dialect.do_rollback = lambda connection: self._refuse("rollback()")
        dialect.set_isolation_level = lambda *given: self._refuse("execution_options(isolation_level=...)")
        dialect.do_close = dialect.do_terminate = lambda connection: None
        dialect.do_execute = self._execute
        dialect.do_execute_no_params = lambda cursor, sql, context=None: self._execute(cursor, sql, ())
        dialect.do_executemany = self._execute_many

    @classmethod
    async def open(cls, path: str, pragmas: Iterable[str], seconds: float) -> "Lane":
        connection = aiosqlite.Connection(partial(connect, path, pragmas), iter_chunk_size=1)
        # A server told twice to stop skips the lifespan's end: its exit must not wait for this thread.
        connection._thread.daemon = True
        try:
            await connection
        except sqlite3.Error:
            # Its thread reports its own end to the loop, which may be closed by then.
            while connection._thread.is_alive():  # noqa: ASYNC110 (a thread has no event to await)
                await asyncio.sleep(0.001)
            raise
        return cls(connection, seconds)

    def post(self, job: Callable[[], object]) -> None:
        """Queues `job` for the lane's thread. It must not raise."""
        self._queue.put_nowait((None, job))

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Schedules `callback` on the event loop. Called in the lane's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    async def close(self) -> None:
        # A thread that waits for a stopped process's lock is left behind: it dies with this process.
        closing = asyncio.ensure_future(self._connection.close())
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)

    def interrupt(self, served: object, *, only_reads: bool) -> None:
        """Ends the statement that runs, unless it may write: SQLite would undo the transaction with it."""
        if only_reads:
            self.raw.interrupt()

    # What follows runs in the lane's thread.

    @property
    def in_transaction(self) -> bool:
        return self.raw.in_transaction

    def execute(self, sql: str) -> None:
        self.raw.execute(sql).close()

    def commit(self) -> None:
        if not self.raw.in_transaction:  # an error was caught, but not what came of it
            raise rolled_back()
        self.raw.execute("COMMIT")

    def leave_transaction(self) -> None:
        """Rolls back after a failure or a failed COMMIT: later writes would be lost in it."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def receive(self, inbox: "queue.SimpleQueue[Any]") -> Any:
        """Waits for what a transaction's task sends; TransactionTimeout when the time is up."""
        left = None if self.until == math.inf else max(self.until - time.monotonic(), 0)
        try:
            return inbox.get(timeout=left)
        except queue.Empty:
            raise self.late() from None

    @contextlib.contextmanager
    def stream(self, statement: Statement) -> Iterator[Callable[[int], list[Record]]]:
        """Begins a statement. Returns what fetches so many of its rows."""
        with contextlib.closing(self.raw.execute(statement.plan.sql, statement.arguments)) as cursor:
            yield lambda size: statement.plan.records(cursor.description, cursor.fetchmany(size))

    def run(self, work: Work) -> Any:
        if isinstance(work, Statement):
            return statements.run(self.raw, work)
        if isinstance(work, Call):
            return self.within(self._call, work)
        return [statements.run(self.raw, each) for each in work.statements]

    def _call(self, call: Call) -> Any:
        connection = self._connection_to_lend()
        self._running = True
        try:
            return call.run(connection)
        finally:
            self._running = False
            # What was not read to its end would pin the snapshot; a traceback may still hold it.
            while self._cursors:
                self._cursors.pop().close()

    def _connection_to_lend(self) -> sa.Connection:
        """Returns the last connection, unless a function closed it or left options on it."""
        lent = self._lent
        if lent is None or lent.closed or lent.invalidated or lent.get_execution_options():
            self._lent = lent = self._engine.connect()
        else:
            lent.rollback()  # what SQLAlchemy believes to have begun; nothing is sent
        return lent

    def _refuse(self, what: str) -> None:
        if self._running:
            raise TransactionControlError(f"connection.{what}")

    def _execute(self, cursor: Any, sql: str, arguments: Any, context: Any = None) -> None:
        self._check(cursor, sql)
        cursor.execute(sql, arguments)

    def _execute_many(self, cursor: Any, sql: str, arguments: Any, context: Any = None) -> None:
        self._check(cursor, sql)
        cursor.executemany(sql, arguments)

    def _check(self, cursor: Any, sql: str) -> None:
        if not self.raw.in_transaction:
            raise rolled_back()
        refuse_control(sql)
        if time.monotonic() > self.until:
            raise self.late()
        self._cursors.append(cursor)

    def within(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what `function` returns in a transaction; TransactionTimeout when its time is up."""
        if not self.raw.in_transaction:
            raise rolled_back()
        before, self.until = self.until, min(self.until, time.monotonic() + self._seconds)
        try:
            return function(*arguments)
        except Exception as error:
            if time.monotonic() > self.until and sqlite_code(error) == sqlite3.SQLITE_INTERRUPT:
                raise self.late() from error
            raise
        finally:
            self.until = before

    def late(self) -> TransactionTimeout:
        return TransactionTimeout(f"a transaction was open for {self._seconds:g} s and is rolled back")


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

    async def run(self, function: Run) -> Any:
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
