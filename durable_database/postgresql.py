"""The PostgreSQL backend: per process a pool of connections, waited for within bounds."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

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
)
from durable_database.statements import Call, Compiler, Record, Statement, Want, Work
from durable_database.transaction import complete

CONNECT_SECONDS = 5
# A server that has gone silent, as behind a cut line, would be waited for by the hour.
STATEMENT_SECONDS = 60
STREAMED_ROWS = 200
# Connections refused or broken, a server that stops, starts or takes no writes, a full disk.
UNAVAILABLE = ("08", "57P", "25006", "53")
# One state for all that a function reads.
SNAPSHOT = {"isolation": "repeatable_read", "readonly": True}


class PostgreSQLBackend:
    """`size` connections at most; `acquire_seconds` bounds the wait for one of them."""

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
        async with self._bounded(CONNECT_SECONDS) as opened:
            (await opened.raw_connection()).close()

    def _open(self, *args: Any, **kwargs: Any) -> Any:
        # The URL as libpq reads it: migrations and backups go by the same.
        return asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings={"application_name": "durable_database"},
        )

    async def disconnect(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    @contextlib.asynccontextmanager
    async def _bounded(self, seconds: float) -> AsyncIterator[AsyncEngine]:
        """Limits the wait for a connection."""
        if self._engine is None:
            raise RuntimeError("the database is not connected")
        started = asyncio.get_running_loop().time()
        with unavailable_in_words():
            try:
                # The pool's own limit is one for its queue; this is one for the connecting too.
                async with asyncio.timeout(seconds):
                    yield self._engine
            except (TimeoutError, sa.exc.TimeoutError):
                raise PoolTimeout(f"no database connection became free in {seconds:g} s") from None
        self._observe("pool_wait_seconds", asyncio.get_running_loop().time() - started)

    async def connection(self) -> AsyncConnection:
        async with self._bounded(self._acquire_seconds) as engine:
            return await engine.connect()

    def session(self) -> "PostgreSQLSession":
        return PostgreSQLSession(self)

    async def do(self, work: Work) -> Any:
        if isinstance(work, Call):
            async with self.session() as session:
                return await session.do(work)
        async with self._bounded(self._acquire_seconds) as engine:
            connection = await engine.raw_connection()
        driver: Any = connection.driver_connection
        try:
            with unavailable_in_words(driver):
                return await run(driver, work)
        finally:
            if driver.is_closed() or driver.is_in_transaction():
                connection.invalidate()
            connection.close()

    async def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        """Streams on a connection of its own, as the consumer may run other statements or never come back."""
        async with self.session() as session, transaction(session.driver):
            async for record in session.stream(statement):
                yield record


class PostgreSQLSession:
    """One connection, whose one wire takes a statement at a time."""

    def __init__(self, backend: PostgreSQLBackend) -> None:
        self._backend = backend
        self._wire = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self.driver: Any = None

    async def acquire(self) -> None:
        self._connection = await self._backend.connection()
        self.driver = (await self._connection.get_raw_connection()).driver_connection

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self.driver.is_closed() or self.driver.is_in_transaction():
            await connection.invalidate()
        await connection.close()

    async def __aenter__(self) -> "PostgreSQLSession":
        await self.acquire()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await complete(self.release())

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[Any]:
        async with self._wire:
            with unavailable_in_words(self.driver):
                yield self.driver

    async def do(self, work: Work) -> Any:
        async with self._turn() as driver:
            if not isinstance(work, Call):
                return await run(driver, work)
            # Where a transaction is open already the function is a savepoint in it.
            options = {} if work.writes or driver.is_in_transaction() else SNAPSHOT
            assert self._connection is not None
            async with transaction(driver, **options):
                return await self._connection.run_sync(_lend, work)

    async def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        if not self.driver.is_in_transaction():
            async for record in self._backend.stream(statement):
                yield record
            return
        plan, arguments, _ = statement
        async with self._turn() as driver:
            cursor = await driver.cursor(plan.sql, *arguments)
        rows = True
        while rows:
            # Between two turns the consumer may use the same connection.
            async with self._turn():
                rows = await cursor.fetch(STREAMED_ROWS)
            for record in records(statement, rows):
                yield record

    async def begin(self, **options: Any) -> Any:
        """Options are asyncpg's, as `readonly=True`. Inside of a transaction another one is a savepoint."""
        async with self._turn() as driver:
            begun = driver.transaction(**options)
            await complete(begun.start())
            return begun

    async def end(self, begun: Any, *, committed: bool) -> None:
        async with self._turn() as driver:
            await (begun.commit() if committed else roll_back(driver, begun))

    @property
    def raw_connection(self) -> Any:
        return self.driver


async def roll_back(driver: Any, begun: Any) -> None:
    # With the connection a transaction has gone too; one whose COMMIT failed, or was cancelled, is over.
    if not driver.is_closed() and driver.is_in_transaction():
        with contextlib.suppress(asyncpg.InterfaceError):
            await complete(begun.rollback())


@contextlib.asynccontextmanager
async def transaction(driver: Any, **options: Any) -> AsyncIterator[None]:
    begun = driver.transaction(**options)
    try:
        await complete(begun.start())
        yield
        await complete(begun.commit())
    except BaseException:
        await roll_back(driver, begun)
        raise


async def run(driver: Any, work: Any) -> Any:
    if isinstance(work, Statement):
        return await run_one(driver, work)
    if len(work.statements) == 1 and work.statements[0].want is Want.MANY:
        return await run_one(driver, work.statements[0])

    async def run_all() -> list[Any]:
        async with driver.transaction():
            return [await run_one(driver, each) for each in work.statements]

    return await complete(run_all())


async def run_one(driver: Any, statement: Statement) -> Any:
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
