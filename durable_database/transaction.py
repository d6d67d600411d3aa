"""A task's connection, and transactions that cannot be left half begun or half ended, on any backend."""

import asyncio
import contextlib
import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import databases.core
import sqlalchemy as sa

from durable_database.statements import Call, Query, Values, Want

P = ParamSpec("P")
T = TypeVar("T")


async def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns what `coroutine` returns. A cancellation reaches the caller only after it has ended."""
    task = asyncio.create_task(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.cancelled() or task.exception()  # looked at, so that asyncio does not report it
        raise


def uninterrupted(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Awaitable[T]]:
    """Decorates `function` so that each call, once begun, runs to its end."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await complete(function(*args, **kwargs))

    return run


class Queries:
    """The queries of a database, and of one of its connections."""

    _backend: Any

    def _runner(self) -> Any:
        """Runs statements: a backend outside of any transaction, a session inside the one it has."""
        raise NotImplementedError

    async def fetch_all(self, query: Query, values: Values = None) -> list[Any]:
        return cast(
            "list[Any]", await self._runner().do(self._backend.compiler.statement(query, values, Want.ALL))
        )

    async def fetch_one(self, query: Query, values: Values = None) -> Any:
        return await self._runner().do(self._backend.compiler.statement(query, values, Want.ONE))

    async def fetch_val(self, query: Query, values: Values = None, column: Any = 0) -> Any:
        row = await self.fetch_one(query, values)
        return None if row is None else row[column]

    async def execute(self, query: Query, values: Values = None) -> Any:
        """Returns the new row's id for an INSERT, else the number of rows changed."""
        return await self._runner().do(self._backend.compiler.statement(query, values, Want.RESULT))

    async def execute_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        """Runs the statement for each of the values: all of them or none."""
        if values:
            await self._runner().do(self._backend.compiler.many(query, values))

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        """Runs several writes in one commit, all of them or none, and returns the result of each."""
        if not statements:
            return []
        return cast("list[Any]", await self._runner().do(self._backend.compiler.batch(statements)))

    def iterate(self, query: Query, values: Values = None) -> AsyncGenerator[Any, None]:
        statement = self._backend.compiler.statement(query, values, Want.ALL)
        return cast("AsyncGenerator[Any, None]", self._runner().stream(statement))

    async def write(
        self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Returns what `function(connection, *args, **kwargs)` returns, once its writes are on the disk.

        It runs to its end where the connection is, in a thread, inside one transaction: no other task or
        process writes meanwhile, and nothing waits for the event loop. It is undone when it raises. Functions
        that wait at the same time share one commit, each in a savepoint; should another one spoil that, it is
        undone and run again, so that it may have no effect but on its connection. PoolTimeout when its turn
        does not come; a caller that is cancelled does not learn whether it was committed.
        """
        return cast(T, await self._call(function, args, kwargs, writes=True))

    async def read(
        self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Returns what `function(connection, *args, **kwargs)` returns; its statements see one state.

        It runs in a thread, may not write, and keeps nobody from writing.
        """
        return cast(T, await self._call(function, args, kwargs, writes=False))

    async def _call(self, function: Callable[..., Any], args: Any, kwargs: Any, *, writes: bool) -> Any:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__qualname__} is a coroutine function; what runs where the connection is awaits "
                "nothing: make it a plain `def`"
            )
        return await self._runner().do(Call(function, args, kwargs, writes))


class Connection(Queries):
    """Runs on a session, which the first to enter it acquires and the last to leave it releases."""

    def __init__(
        self, backend: Any, by_task: "weakref.WeakKeyDictionary[Any, Connection] | None" = None
    ) -> None:
        self._backend = backend
        self.session: Any = backend.session()
        self.lock = asyncio.Lock()
        self.transactions: list[Transaction] = []
        self._entered = 0
        self._entering = asyncio.Lock()
        self._by_task = by_task
        self._task = weakref.ref(asyncio.current_task()) if by_task is not None else None
        if by_task is not None:
            by_task[asyncio.current_task()] = self

    @property
    def is_open(self) -> bool:
        return self._entered > 0

    @property
    def raw_connection(self) -> Any:
        return self.session.raw_connection

    def _runner(self) -> Any:
        return self.session

    async def __aenter__(self) -> "Connection":
        async with self._entering:
            if not self._entered:
                await self.session.acquire()
            self._entered += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await complete(self.leave())

    async def leave(self) -> None:
        async with self._entering:
            self._entered -= 1
            if self._entered:
                return
            # The task that opened it: the one that closes it, in a teardown, may be another.
            if self._by_task is not None and self._task is not None and (task := self._task()):
                self._by_task.pop(task, None)
            await self.session.release()

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> "Transaction":
        return Transaction(lambda: self, force_rollback, options)


class Transaction(databases.core.Transaction):
    """`databases` leaves its connection in an open transaction when BEGIN or COMMIT is cancelled or
    fails; later writes of the same task are then acknowledged and lost."""

    def __init__(
        self, connection: Callable[[], Connection], force_rollback: bool, options: dict[str, Any]
    ) -> None:
        self._connection_of_task = connection
        self._force_rollback = force_rollback
        self._options = options
        # Kept: in another task, as that of a teardown, `connection()` would be another one.
        self.connection: Connection | None = None
        self._begun: Any = None

    def __call__(self, function: Callable[..., Any]) -> Any:
        # One for each call: calls may run at the same time.
        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            async with Transaction(self._connection_of_task, self._force_rollback, self._options):
                return await function(*args, **kwargs)

        return run

    async def start(self) -> "Transaction":
        self.connection = connection = self._connection_of_task()
        async with connection.lock:
            await connection.__aenter__()
            try:
                self._begun = await connection.session.begin(**self._options)
            except BaseException:
                await complete(connection.leave())
                raise
            connection.transactions.append(self)
        return self

    async def commit(self) -> None:
        await complete(self._end(committed=True))

    async def rollback(self) -> None:
        await complete(self._end(committed=False))

    async def _end(self, *, committed: bool) -> None:
        connection = self.connection
        assert connection is not None, "it was not started"
        async with connection.lock:
            assert connection.transactions[-1] is self, "an inner transaction is still open"
            connection.transactions.pop()
            try:
                await connection.session.end(self._begun, committed=committed)
            finally:
                await connection.leave()
