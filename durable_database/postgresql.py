"""The PostgreSQL backend: per process a pool of connections, waited for within bounds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from databases import DatabaseURL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from durable_database.compiler import Arguments, Compiler, Plan
from durable_database.completion import complete
from durable_database.errors import (
    DatabaseUnavailable,
    PoolTimeout,
    TransactionControlError,
    driver_error,
)
from durable_database.functions import checked, refuse_control
from durable_database.records import Shape
from durable_database.statements import Query, Values, Want

CONNECT_SECONDS = 5
# A server that has gone silent, as behind a cut line, would be waited for by the hour.
STATEMENT_SECONDS = 60
STREAMED_ROWS = 200
# Connections refused or broken, a server that stops, starts or takes no writes, a full disk.
UNAVAILABLE = ("08", "57P", "25006", "53")
# One state for all that a function reads.
SNAPSHOT = {"isolation": "repeatable_read", "readonly": True}
# Set on a connection while a function has it.
LENT = "durable_database.lent"


class PostgreSQLPlan(Plan):
    __slots__ = ("names", "returns")

    def __init__(self, sql: str, compiled: Any, names: Sequence[str]) -> None:
        super().__init__(sql, tuple(getattr(compiled, "_result_columns", None) or ()))
        self.names = tuple(names)
        self.returns = not self.writes or bool(self.entries) or "returning" in sql.lower()


class PostgreSQLCompiler(Compiler):
    def _plan_of(self, sql: str, compiled: Any, names: Sequence[str]) -> PostgreSQLPlan:
        return PostgreSQLPlan(sql, compiled, names)

    def _arrange(self, plan: Any, parameters: Mapping[str, Any]) -> Arguments:
        return tuple([parameters[name] for name in plan.names])


class PostgreSQLBackend:
    """`size` connections at most; `acquire_seconds` bounds the wait for one of them."""

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        size: int = 5,
        acquire_seconds: float = 5.0,
        observe: Callable[[str, float], None] = lambda name, value: None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: no option of a PostgreSQL database here; there are size, "
                "acquire_seconds and observe, and what libpq takes in the URL"
            )
        self._url = str(url)
        self._size = size
        self.acquire_seconds = acquire_seconds
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
            pool_timeout=self.acquire_seconds,
        )
        engine = self._engine.sync_engine
        sa.event.listen(engine, "checkout", _replace_if_closed)
        sa.event.listen(engine, "before_cursor_execute", _before)
        sa.event.listen(engine, "commit", lambda connection: _refuse(connection, "commit()"))
        sa.event.listen(engine, "rollback", lambda connection: _refuse(connection, "rollback()"))
        self.compiler = PostgreSQLCompiler(engine.dialect)
        async with self.bounded(CONNECT_SECONDS) as opened:
            self.give_back(await opened.raw_connection())

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

    def connection(self) -> "PostgreSQLSession":
        return PostgreSQLSession(self)

    @contextlib.asynccontextmanager
    async def bounded(self, seconds: float) -> AsyncIterator[AsyncEngine]:
        """Around the wait for a connection."""
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

    async def borrow(self) -> Any:
        """A connection of the pool, to be given back; its `driver_connection` is asyncpg's."""
        async with self.bounded(self.acquire_seconds) as engine:
            return await engine.raw_connection()

    def give_back(self, connection: Any) -> None:
        driver = connection.driver_connection
        if driver is None or driver.is_closed() or driver.is_in_transaction():
            connection.invalidate()
        connection.close()

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Any]:
        connection = await self.borrow()
        try:
            with unavailable_in_words(connection.driver_connection):
                yield connection.driver_connection
        finally:
            self.give_back(connection)

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        plan, arguments = self.compiler.plan(query, values)
        async with self._borrowed() as driver:
            return await run(driver, self.compiler, plan, arguments, want)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        async with self._borrowed() as driver:
            await run_many(driver, self.compiler, query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        async with self._borrowed() as driver:
            return await run_batch(driver, self.compiler, statements)

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, write: bool) -> Any:
        async with PostgreSQLSession(self) as session:
            return await session.call(function, arguments, write=write)

    async def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        """On a connection of its own: the consumer may ask for more, or never come back."""
        plan, arguments = self.compiler.plan(query, values)
        async with self._borrowed() as driver, transaction(driver):
            cursor = await driver.cursor(plan.sql, *arguments)
            while rows := await cursor.fetch(STREAMED_ROWS):
                for record in records(self.compiler, plan, rows):
                    yield record


class PostgreSQLSession:
    """One connection, whose one wire takes a statement at a time."""

    def __init__(self, backend: PostgreSQLBackend) -> None:
        self._backend = backend
        self._wire = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self.driver: Any = None

    async def acquire(self) -> None:
        async with self._backend.bounded(self._backend.acquire_seconds) as engine:
            self._connection = await engine.connect()
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
    async def turn(self) -> AsyncIterator[Any]:
        async with self._wire:
            with unavailable_in_words(self.driver):
                yield self.driver

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        plan, arguments = self._backend.compiler.plan(query, values)
        async with self.turn() as driver:
            return await run(driver, self._backend.compiler, plan, arguments, want)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        async with self.turn() as driver:
            await run_many(driver, self._backend.compiler, query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        async with self.turn() as driver:
            return await run_batch(driver, self._backend.compiler, statements)

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, write: bool) -> Any:
        """Where a transaction is open already the function is a savepoint in it."""
        assert self._connection is not None
        async with self.turn() as driver:
            options = {} if write or driver.is_in_transaction() else SNAPSHOT
            async with transaction(driver, **options):
                return await self._connection.run_sync(_lend, function, arguments)

    async def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        if not self.driver.is_in_transaction():
            async for record in self._backend.stream(query, values):
                yield record
            return
        compiler = self._backend.compiler
        plan, arguments = compiler.plan(query, values)
        async with self.turn() as driver:
            cursor = await driver.cursor(plan.sql, *arguments)
        rows = True
        while rows:
            # Between two turns the consumer may use the same connection.
            async with self.turn():
                rows = await cursor.fetch(STREAMED_ROWS)
            for record in records(compiler, plan, rows):
                yield record

    def transaction(self) -> "PostgreSQLTransaction":
        return PostgreSQLTransaction(self)

    @property
    def raw_connection(self) -> Any:
        return self.driver


class PostgreSQLTransaction:
    """asyncpg's, in which another one is a savepoint. Its options, as `readonly=True`, are passed on."""

    def __init__(self, session: PostgreSQLSession) -> None:
        self._session = session
        self._transaction: Any = None

    async def start(self, is_root: bool, extra_options: dict[str, Any]) -> None:
        async with self._session.turn() as driver:
            self._transaction = await begin(driver, **extra_options)

    async def commit(self) -> None:
        async with self._session.turn():
            await self._transaction.commit()

    async def rollback(self) -> None:
        async with self._session.turn() as driver:
            await roll_back(driver, self._transaction)


async def begin(driver: Any, **options: Any) -> Any:
    transaction = driver.transaction(**options)
    try:
        await complete(transaction.start())
    except asyncio.CancelledError:
        with contextlib.suppress(asyncpg.InterfaceError):  # it never began
            await complete(transaction.rollback())
        raise
    return transaction


async def roll_back(driver: Any, transaction: Any) -> None:
    # With the connection a transaction has gone too; one whose COMMIT failed, or was cancelled, is over.
    if not driver.is_closed() and driver.is_in_transaction():
        with contextlib.suppress(asyncpg.InterfaceError):
            await complete(transaction.rollback())


@contextlib.asynccontextmanager
async def transaction(driver: Any, **options: Any) -> AsyncIterator[None]:
    begun = await begin(driver, **options)
    try:
        yield
        await complete(begun.commit())
    except BaseException:
        await roll_back(driver, begun)
        raise


def _lend(connection: sa.Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    connection.info[LENT] = True
    try:
        return checked(function(connection, *arguments))
    finally:
        if not connection.invalidated:
            connection.info.pop(LENT, None)
        connection.rollback()  # of what SQLAlchemy believes to have begun; nothing is sent


def _refuse(connection: sa.Connection, what: str) -> None:
    if not connection.invalidated and connection.info.get(LENT):
        raise TransactionControlError(f"connection.{what}")


def _before(connection: sa.Connection, cursor: Any, statement: str, *context: Any) -> None:
    refuse_control(statement)


def _replace_if_closed(connection: Any, record: Any, proxy: Any) -> None:
    if connection.driver_connection.is_closed():
        raise sa.exc.DisconnectionError("the server ended it")


async def run(driver: Any, compiler: Compiler, plan: PostgreSQLPlan, arguments: Arguments, want: Want) -> Any:
    if want is Want.ONE:
        row = await driver.fetchrow(plan.sql, *arguments)
        return None if row is None else records(compiler, plan, (row,))[0]
    if want is Want.ALL:
        return records(compiler, plan, await driver.fetch(plan.sql, *arguments))
    if plan.returns:
        return await driver.fetchval(plan.sql, *arguments)
    status = await driver.execute(plan.sql, *arguments)
    if plan.inserts:  # what the new row's id is, only RETURNING tells
        return None
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else None


async def run_many(
    driver: Any, compiler: Compiler, query: Query, values: Sequence[Mapping[str, Any]]
) -> None:
    planned = [compiler.plan(query, each) for each in values]
    await driver.executemany(planned[0][0].sql, [arguments for _, arguments in planned])


async def run_batch(driver: Any, compiler: Compiler, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
    planned = [compiler.plan(*each) for each in statements]

    async def run_all() -> list[Any]:
        async with driver.transaction():
            return [await run(driver, compiler, plan, arguments, Want.RESULT) for plan, arguments in planned]

    return await complete(run_all())


def records(compiler: Compiler, plan: PostgreSQLPlan, rows: Sequence[asyncpg.Record]) -> list[Any]:
    if not rows:
        return []
    names = tuple(rows[0].keys())
    # Compared each time: a migration may change the columns of `SELECT *` under way.
    if names != plan.columns:
        plan.shape = Shape.of(plan.entries, names, compiler.dialect)
        plan.columns = names
    found: list[Any] = plan.shape.records(map(tuple, rows))
    return found


@contextlib.contextmanager
def unavailable_in_words(driver: Any = None) -> Iterator[None]:
    """Turns what says that the server cannot serve just now into DatabaseUnavailable."""
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
