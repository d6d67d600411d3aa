"""A long-lived SQLite connection with its thread: one hop there and back for a whole batch."""

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import quote

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from durable_database import statements
from durable_database.errors import (
    TransactionControlError,
    TransactionTimeout,
    refuse_control,
    rolled_back,
    sqlite_code,
)
from durable_database.statements import Call, Statement, Work

# What became of a job: its future, and the error or the value.
Outcome: TypeAlias = "tuple[asyncio.Future[Any], BaseException | None, Any]"

CLOSE_SECONDS = 5
# SQLite looks at the time of a transaction after so many instructions, about 50 ms: not so often that the
# event loop would notice.
LOOK_INSTRUCTIONS = 5_000_000
OPTIONS: dict[str, Any] = {"uri": True, "isolation_level": None, "cached_statements": 512}


def file_uri(path: str) -> str:
    # mode=rw: a wrong path is an error, not a new and empty database.
    return f"file:{quote(path)}?mode=rw"


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
        connection = aiosqlite.connect(file_uri(path), **OPTIONS)
        # A server told twice to stop skips the lifespan's end: its exit must not wait for this thread.
        connection._thread.daemon = True
        try:
            await connection
        except sqlite3.Error:
            # Its thread reports its own end to the loop, which may be closed by then.
            while connection._thread.is_alive():  # noqa: ASYNC110 (a thread has no event to await)
                await asyncio.sleep(0.001)
            raise
        lane = cls(connection, seconds)
        try:
            await connection.set_progress_handler(lambda: time.monotonic() > lane.until, LOOK_INSTRUCTIONS)
            for pragma in pragmas:
                await connection.execute_fetchall(f"PRAGMA {pragma}")
        except BaseException:
            await lane.close()
            raise
        return lane

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

    # What follows runs in the lane's thread.

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
            value = call.run(connection)
        finally:
            self._running = False
            # What was not read to its end would pin the snapshot; a traceback may still hold it.
            while self._cursors:
                self._cursors.pop().close()
        if not self.raw.in_transaction:  # an error in it was caught, but not what came of it
            raise rolled_back()
        return value

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
        """Returns what `function` returns. When time is up, its statement fails with TransactionTimeout."""
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


def outcome(future: asyncio.Future[Any], function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return future, None, function(*arguments)
    except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
        return future, error, None


def settle(outcomes: Iterable[Outcome]) -> None:
    """Passes each result to its caller, except to callers that were cancelled meanwhile."""
    for future, error, value in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(error)
