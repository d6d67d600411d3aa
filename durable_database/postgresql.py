"""The PostgreSQL backend: per process a pool of connections, waited for within bounds."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

import asyncpg
import sqlalchemy as sa
from databases import DatabaseURL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from durable_database.errors import (
    DatabaseUnavailable,
    PoolTimeout,
    TransactionControlError,
    driver_error,
    refuse_control,
    rolled_back,
)
from durable_database.statements import Batch, Call, Compiler, Record, Statement, Want, Work
from durable_database.transaction import OpenTransaction, Run, complete, run_in_transaction

CONNECT_SECONDS = 5
# A server that has gone silent, as behind a cut line, would be waited for by the hour.
STATEMENT_SECONDS = 60
# Connections refused or broken, a server that stops, starts or takes no writes, a full disk.
UNAVAILABLE = ("08", "57P", "25006", "53")
ISOLATION = ("read_uncommitted", "read_committed", "repeatable_read", "serializable")
# One state for all that a function reads.
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

T = TypeVar("T")


class PostgreSQLBackend:
    """`size` connections at most; `acquire_seconds` bounds the wait for one of them."""

    new_inbox = asyncio.Queue

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        size: int = 5,
        acquire_seconds: float = 5.0,
        observe: Callable[[str, float], None] = lambda name, value: None,
    ) -> None:
        self._url = str(url)
        self._size = size
        self._acquire_seconds = acquire_seconds
        self._observe = observe
        self._engine: AsyncEngine | None = None
        self.open_transactions: set[OpenTransaction] = set()

    async def connect(self) -> None:
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._open,
            # Transactions are begun and ended on asyncpg's connection, around what SQLAlchemy runs.
            isolation_level="AUTOCOMMIT",
            pool_size=self._size,
            max_overflow=0,
            pool_timeout=self._acquire_seconds,
        )
        engine = self._engine.sync_engine
        sa.event.listen(engine, "checkout", _replace_if_closed)
        sa.event.listen(engine, "before_cursor_execute", lambda *given: refuse_control(given[2]))
        sa.event.listen(engine, "commit", lambda connection: _refuse(connection, "commit()"))
        sa.event.listen(engine, "rollback", lambda connection: _refuse(connection, "rollback()"))
        self.compiler = Compiler(engine.dialect)
        (await self._acquire(AsyncEngine.raw_connection, CONNECT_SECONDS)).close()

    def _open(self, *args: Any, **kwargs: Any) -> Any:
        # The URL as libpq reads it: migrations and backups go by the same.
        return asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings={"application_name": "durable_database"},
        )

    async def disconnect(self) -> None:
        for transaction in list(self.open_transactions):
            await transaction.end(committed=False)
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def _acquire(self, acquire: Callable[[AsyncEngine], Awaitable[T]], seconds: float) -> T:
        """Limits the wait for a connection."""
        if self._engine is None:
            raise RuntimeError("the database is not connected")
        started = asyncio.get_running_loop().time()
        with unavailable_in_words():
            try:
                # The pool's own limit is one for its queue; this is one for the connecting too.
                async with asyncio.timeout(seconds):
                    acquired = await acquire(self._engine)
            except (TimeoutError, sa.exc.TimeoutError):
                raise PoolTimeout(f"no database connection became free in {seconds:g} s") from None
        self._observe("pool_wait_seconds", asyncio.get_running_loop().time() - started)
        return acquired

    async def do(self, work: Work) -> Any:
        if isinstance(work, Batch) and work.statements[0].want is Want.MANY:
            work = work.statements[0]  # asyncpg stores all of them or none
        if not isinstance(work, Statement):
            return await self.write(lambda lane: lane.run(work), "BEGIN" if work.writes else SNAPSHOT)
        connection = await self._acquire(AsyncEngine.raw_connection, self._acquire_seconds)
        driver: Any = connection.driver_connection
        try:
            with unavailable_in_words(driver):
                return await run(driver, work)
        finally:
            if driver.is_closed() or driver.is_in_transaction():
                connection.invalidate()
            connection.close()

    async def write(self, run: Run, begin: str = "BEGIN") -> Any:
        """Returns what `run` returns for a lane in a transaction, once that is committed."""
        connection = await self._acquire(lambda engine: engine.connect(), self._acquire_seconds)
        assert connection.sync_connection is not None
        lane = Lane(connection.sync_connection)
        try:
            return await connection.run_sync(lambda _: run_in_transaction(begin, run, lane))
        finally:
            await complete(release(connection, lane.driver))

    def transaction(
        self, *, isolation: str = "", readonly: bool = False, deferrable: bool = False
    ) -> OpenTransaction:
        """Takes the options of asyncpg: `isolation` is one of its names, as "repeatable_read"."""
        if isolation and isolation not in ISOLATION:
            raise ValueError(f"isolation={isolation!r} is not known; there are {', '.join(ISOLATION)}")
        begin = f"BEGIN ISOLATION LEVEL {isolation.replace('_', ' ')}" if isolation else "BEGIN"
        begin += (" READ ONLY" if readonly else "") + (" DEFERRABLE" if deferrable else "")
        return OpenTransaction(self, lambda run: self.write(run, begin))

    def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        """Streams on a connection of its own, as the consumer may run other statements or never come back."""
        return self.transaction().stream(statement, is_all=True)


async def release(connection: AsyncConnection, driver: Any) -> None:
    if driver.is_closed() or driver.is_in_transaction():
        await connection.invalidate()
    await connection.close()


class Lane:
    """A connection in a transaction, used by functions in the greenlet of SQLAlchemy's bridge."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._adapted: Any = connection.connection.dbapi_connection
        self.driver: Any = connection.connection.driver_connection
        self._busy = False

    def _wait(self, operation: Callable[[Any], Awaitable[Any]]) -> Any:
        with unavailable_in_words(self.driver):
            return self._adapted.run_async(operation)

    @property
    def in_transaction(self) -> bool:
        return not self.driver.is_closed() and bool(self.driver.is_in_transaction())

    def execute(self, sql: str) -> str:
        return cast(str, self._wait(lambda driver: complete(driver.execute(sql))))

    def commit(self) -> None:
        # With which PostgreSQL answers where a statement has failed before: for itself that is no error.
        if self.execute("COMMIT") == "ROLLBACK":
            raise asyncpg.InFailedSQLTransactionError(str(rolled_back()))

    def leave_transaction(self) -> None:
        # With the connection a transaction has gone too; one whose COMMIT failed is over.
        if self.in_transaction:
            with contextlib.suppress(asyncpg.InterfaceError):
                self.execute("ROLLBACK")

    def receive(self, inbox: "asyncio.Queue[Any]") -> Any:
        """Waits for what a transaction's task sends."""
        self._busy = False
        received = self._wait(lambda driver: inbox.get())
        self._busy = True
        return received

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        callback(*arguments)

    def interrupt(self, served: asyncio.Future[Any], *, only_reads: bool) -> None:
        if self._busy:
            served.cancel()

    @contextlib.contextmanager
    def stream(self, statement: Statement) -> Iterator[Callable[[int], list[Record]]]:
        """Begins a statement. Returns what fetches so many of its rows."""
        plan, arguments, _ = statement
        cursor = self._wait(lambda driver: driver.cursor(plan.sql, *arguments))
        yield lambda size: records(statement, self._wait(lambda driver: cursor.fetch(size)))

    def run(self, work: Work) -> Any:
        if isinstance(work, Statement):
            return self._wait(lambda driver: run(driver, work))
        if isinstance(work, Batch):
            return [self.run(each) for each in work.statements]
        with unavailable_in_words(self.driver):
            return _lend(self._connection, work)


async def run(driver: Any, statement: Statement) -> Any:
    plan, arguments, want = statement
    if want is Want.MANY:  # all of them or none
        return await driver.executemany(plan.sql, arguments)
    if want is Want.ONE:
        row = await driver.fetchrow(plan.sql, *arguments)
        return None if row is None else records(statement, (row,))[0]
    if want is Want.ALL:
        return records(statement, await driver.fetch(plan.sql, *arguments))
    if plan.returns:
        return await driver.fetchval(plan.sql, *arguments)
    status = await driver.execute(plan.sql, *arguments)
    count = status.rpartition(" ")[2]
    # What the new row's id is, only RETURNING tells.
    return int(count) if count.isdecimal() and not plan.inserts else None


def records(statement: Statement, rows: Any) -> list[Record]:
    return statement.plan.records(tuple(rows[0].keys()), rows) if rows else []


_lent: "weakref.WeakSet[sa.Connection]" = weakref.WeakSet()


def _lend(connection: sa.Connection, call: Call) -> Any:
    _lent.add(connection)
    try:
        return call.run(connection)
    finally:
        _lent.discard(connection)
        connection.rollback()  # of what SQLAlchemy believes to have begun; nothing is sent


def _refuse(connection: sa.Connection, what: str) -> None:
    if connection in _lent:
        raise TransactionControlError(f"connection.{what}")


def _replace_if_closed(connection: Any, record: Any, proxy: Any) -> None:
    if connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError("the server ended it")


@contextlib.contextmanager
def unavailable_in_words(driver: Any = None) -> Iterator[None]:
    """Turns errors of an unavailable server into DatabaseUnavailable."""
    try:
        yield
    except Exception as error:
        cause = driver_error(error)
        if isinstance(cause, asyncpg.InternalClientError) and driver is not None:
            driver.terminate()  # it was ended between two messages of one statement
        if _is_unavailable(cause, driver):
            raise DatabaseUnavailable(str(cause) or type(cause).__name__) from error
        raise


def _is_unavailable(error: BaseException, driver: Any) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(UNAVAILABLE)
    if isinstance(error, asyncpg.InterfaceError):
        return driver is not None and driver.is_closed()
    return isinstance(error, OSError | asyncpg.InternalClientError) and not isinstance(error, TimeoutError)
