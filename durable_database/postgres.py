"""The PostgreSQL backend: per process a pool of asyncpg's connections, waited for within bounds."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
from databases import DatabaseURL
from databases.interfaces import TransactionBackend

from durable_database.completion import complete
from durable_database.errors import PoolTimeout
from durable_database.failures import DatabaseUnavailable
from durable_database.fork import forget, refuse_after_fork
from durable_database.interfaces import Backend, Observe, Query, Session, Values, Want, ignore
from durable_database.postgres_statements import DIALECT, PostgreSQLCompiler, records, run

CONNECT_SECONDS = 5
# A server that has gone silent, as behind a cut line, would be waited for by the hour.
STATEMENT_SECONDS = 60
STREAMED_ROWS = 200
# Connections refused or broken, a server that stops, starts or takes no writes, a full disk.
UNAVAILABLE = ("08", "57P", "25006", "53")


class PostgreSQLBackend(Backend):
    _pool: Any = None

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        size: int = 5,
        acquire_seconds: float = 5.0,
        observe: Observe = ignore,
    ) -> None:
        self._url = str(url)
        self._size = size
        self._acquire_seconds = acquire_seconds
        self._observe = observe
        self.compiler = PostgreSQLCompiler(DIALECT)

    async def connect(self) -> None:
        with unavailable_in_words():
            # The URL as libpq reads it: migrations and backups go by the same.
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._size,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings={"application_name": "coachman"},
            )
        refuse_after_fork(self)

    async def disconnect(self) -> None:
        forget(self)
        pool, self._pool = self._pool, None
        await pool.close()

    def connection(self) -> "PostgreSQLSession":
        return PostgreSQLSession(self)

    async def borrow(self) -> Any:
        if self._pool is None:
            raise RuntimeError("the database is not connected")
        started = asyncio.get_running_loop().time()
        try:
            # asyncpg's own limit is also one for the connecting, and says which of the two it was by nothing.
            async with asyncio.timeout(self._acquire_seconds):
                connection = await self._pool.acquire()
        except TimeoutError:
            seconds = self._acquire_seconds
            raise PoolTimeout(f"no database connection became free in {seconds:g} s") from None
        except Exception as error:
            raise_unavailable(error)
            raise
        self._observe("pool_wait_seconds", asyncio.get_running_loop().time() - started)
        return connection

    async def give_back(self, connection: Any) -> None:
        if self._pool is not None:
            await self._pool.release(connection, timeout=CONNECT_SECONDS)

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Any]:
        self.compiler.plan("SELECT 1")  # refuses after a fork, before a wire is touched
        connection = await self.borrow()
        try:
            with unavailable_in_words(connection):
                yield connection
        finally:
            await self.give_back(connection)

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        # The hot path: written out, since each context manager costs as much as compiling does.
        plan, arguments = self.compiler.plan(query, values)
        connection = await self.borrow()
        try:
            return await run(connection, plan, arguments, want)
        except Exception as error:
            raise_unavailable(error, connection)
            raise
        finally:
            await self.give_back(connection)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        async with self._borrowed() as connection:
            await run_many(connection, self.compiler, query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        async with self._borrowed() as connection:
            return await run_batch(connection, self.compiler, statements)

    async def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        """On a connection of its own: the consumer may ask for more, or never come back."""
        plan, arguments = self.compiler.plan(query, values)
        async with self._borrowed() as connection, connection.transaction():
            cursor = await connection.cursor(plan.sql, *arguments)
            while rows := await cursor.fetch(STREAMED_ROWS):
                for record in records(plan, rows):
                    yield record


class PostgreSQLSession(Session):
    """One connection, whose one wire takes a statement at a time."""

    def __init__(self, backend: PostgreSQLBackend) -> None:
        self._backend = backend
        self.wire = asyncio.Lock()
        self.connection: Any = None

    async def acquire(self) -> None:
        self._backend.compiler.plan("SELECT 1")  # refuses after a fork, before a wire is touched
        self.connection = await self._backend.borrow()

    async def release(self) -> None:
        connection, self.connection = self.connection, None
        await self._backend.give_back(connection)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Any]:
        async with self.wire:
            with unavailable_in_words(self.connection):
                yield self.connection

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        plan, arguments = self._backend.compiler.plan(query, values)
        async with self.turn() as connection:
            return await run(connection, plan, arguments, want)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        async with self.turn() as connection:
            await run_many(connection, self._backend.compiler, query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        async with self.turn() as connection:
            return await run_batch(connection, self._backend.compiler, statements)

    async def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        if not self.connection.is_in_transaction():
            async for record in self._backend.stream(query, values):
                yield record
            return
        plan, arguments = self._backend.compiler.plan(query, values)
        async with self.turn() as connection:
            cursor = await connection.cursor(plan.sql, *arguments)
        rows = True
        while rows:
            # Between two turns the consumer may use the same connection.
            async with self.turn():
                rows = await cursor.fetch(STREAMED_ROWS)
            for record in records(plan, rows):
                yield record

    def transaction(self) -> "PostgreSQLTransaction":
        return PostgreSQLTransaction(self)

    @property
    def raw_connection(self) -> Any:
        return self.connection


class PostgreSQLTransaction(TransactionBackend):
    """asyncpg's, in which another one is a savepoint. Its options, as `readonly=True`, are passed on."""

    def __init__(self, session: PostgreSQLSession) -> None:
        self._session = session

    async def start(self, is_root: bool, extra_options: dict[Any, Any]) -> None:
        async with self._session.turn() as connection:
            self._transaction = connection.transaction(**extra_options)
            try:
                await complete(self._transaction.start())
            except asyncio.CancelledError:
                with contextlib.suppress(asyncpg.InterfaceError):  # it never began
                    await complete(self._transaction.rollback())
                raise

    async def commit(self) -> None:
        async with self._session.turn():
            await self._transaction.commit()

    async def rollback(self) -> None:
        async with self._session.turn() as connection:
            if not connection.is_closed():  # with the connection the transaction has gone too
                await self._transaction.rollback()


async def run_many(
    connection: Any, compiler: PostgreSQLCompiler, query: Query, values: Sequence[Mapping[str, Any]]
) -> None:
    planned = [compiler.plan(query, each) for each in values]
    await connection.executemany(planned[0][0].sql, [arguments for _, arguments in planned])


async def run_batch(
    connection: Any, compiler: PostgreSQLCompiler, statements: Sequence[tuple[Query, Values]]
) -> list[Any]:
    planned = [compiler.plan(*each) for each in statements]

    async def run_all() -> list[Any]:
        async with connection.transaction():
            return [await run(connection, plan, arguments, Want.RESULT) for plan, arguments in planned]

    return await complete(run_all())


@contextlib.contextmanager
def unavailable_in_words(connection: Any = None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise_unavailable(error, connection)
        raise


def raise_unavailable(error: Exception, connection: Any = None) -> None:
    """Turns what says that the server cannot serve just now into DatabaseUnavailable."""
    if isinstance(error, asyncpg.InternalClientError) and connection is not None:
        connection.terminate()  # it was ended between two messages of one statement
    if _is_unavailable(error, connection):
        raise DatabaseUnavailable(str(error) or type(error).__name__) from error


def _is_unavailable(error: Exception, connection: Any) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(UNAVAILABLE)
    if isinstance(error, asyncpg.InterfaceError):
        return connection is not None and connection.is_closed()
    return isinstance(error, OSError | asyncpg.InternalClientError)
