"""`databases.Database` with its API, our backends, and transactions that are functions."""

import asyncio
import functools
import importlib
import inspect
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar, cast

import databases.core
import sqlalchemy as sa
from databases import DatabaseURL

from durable_database import sqlite as _sqlite  # noqa: F401 (here, not in each worker)
from durable_database.errors import ForkedError
from durable_database.statements import Call, Query, Values, Want
from durable_database.transaction import OpenTransaction, complete

P = ParamSpec("P")
T = TypeVar("T")

BACKENDS = {
    "sqlite": ("durable_database.sqlite", "SQLiteBackend"),
    "postgresql": ("durable_database.postgresql", "PostgreSQLBackend"),
}


class Queries:
    """The queries of a database, and of one of its connections."""

    _backend: Any

    def runner(self) -> Any:
        """Runs statements: a backend, or inside of a transaction that."""
        raise NotImplementedError

    async def fetch_all(self, query: Query, values: Values = None) -> list[Any]:
        return cast(
            "list[Any]", await self.runner().do(self._backend.compiler.statement(query, values, Want.ALL))
        )

    async def fetch_one(self, query: Query, values: Values = None) -> Any:
        return await self.runner().do(self._backend.compiler.statement(query, values, Want.ONE))

    async def fetch_val(self, query: Query, values: Values = None, column: Any = 0) -> Any:
        row = await self.fetch_one(query, values)
        return None if row is None else row[column]

    async def execute(self, query: Query, values: Values = None) -> Any:
        """Returns the new row's id for an INSERT, else the number of rows changed."""
        return await self.runner().do(self._backend.compiler.statement(query, values, Want.RESULT))

    async def execute_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        """Runs the statement for each of the values: all of them or none."""
        if values:
            await self.runner().do(self._backend.compiler.many(query, values))

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        """Runs several writes in one commit, all of them or none, and returns the result of each."""
        if not statements:
            return []
        return cast("list[Any]", await self.runner().do(self._backend.compiler.batch(statements)))

    def iterate(self, query: Query, values: Values = None) -> AsyncGenerator[Any, None]:
        statement = self._backend.compiler.statement(query, values, Want.ALL)
        return cast("AsyncGenerator[Any, None]", self.runner().stream(statement))

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
        return await self.runner().do(Call(function, args, kwargs, writes))


class Connection(Queries):
    """A task's, for as long as anybody is in it, with the transactions that are open there."""

    def __init__(
        self, backend: Any, by_task: "weakref.WeakKeyDictionary[Any, Connection] | None" = None
    ) -> None:
        self._backend = backend
        self._by_task = by_task
        self._task: Any = None
        self._entered = 0
        self.lock = asyncio.Lock()
        self.open_transaction: OpenTransaction | None = None
        self.transactions: list[Transaction] = []  # the outermost, and savepoints

    @property
    def raw_connection(self) -> NoReturn:
        raise RuntimeError(
            "raw_connection is not available: its statements would bypass the write queue; "
            "use write(function)"
        )

    def runner(self) -> Any:
        return self.open_transaction or self._backend

    def enter(self) -> None:
        if not self._entered and self._by_task is not None:
            task = asyncio.current_task()
            self._task = weakref.ref(task)
            self._by_task[task] = self
        self._entered += 1

    def leave(self) -> None:
        self._entered -= 1
        # The task that opened it: the one that closes it, in a teardown, may be another.
        if not self._entered and self._by_task is not None and (task := self._task()):
            self._by_task.pop(task, None)

    async def __aenter__(self) -> "Connection":
        self.enter()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> "Transaction":
        return Transaction(lambda: self, force_rollback, options)

    async def begin(self, options: dict[str, Any]) -> None:
        """Begins a transaction, or inside of one a savepoint."""
        if self.open_transaction is None:
            self.open_transaction = self._backend.transaction(**options)
        else:
            await self.open_transaction.control("SAVEPOINT nested")

    async def end(self, *, committed: bool) -> None:
        transaction = self.open_transaction
        assert transaction is not None, "the outer transaction is over"
        if not self.transactions:
            self.open_transaction = None
            await transaction.end(committed=committed)
            return
        if not committed:
            await transaction.control("ROLLBACK TO nested")
        await transaction.control("RELEASE nested")


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
            await connection.begin(self._options)
            connection.enter()
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
                await connection.end(committed=committed)
            finally:
                connection.leave()


class Database(Queries, databases.Database):
    """A database that this process shares with others; one for each event loop.

    `url` is sqlite:///PATH or postgresql://...; `options` are those of the backend: see docs/database.md.
    """

    def __init__(self, url: str | DatabaseURL, *, force_rollback: bool = False, **options: Any) -> None:
        self.url = DatabaseURL(url)
        self.options = options
        self.is_connected = False
        self._force_rollback = force_rollback
        self._connection_map: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._shared: Connection | None = None  # with `force_rollback`, that of all tasks
        self._shared_transaction: Transaction | None = None
        self._backend: Any = _backend_class(self.url, options)(self.url, **options)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def connect(self) -> None:
        if self.is_connected:
            return
        await self._backend.connect()
        self.is_connected = True
        _connected.add(self)
        if self._force_rollback:
            self._shared = Connection(self._backend)
            self._shared_transaction = self._shared.transaction(force_rollback=True)
            await self._shared_transaction.start()

    async def disconnect(self) -> None:
        if not self.is_connected:
            return
        if self._shared_transaction is not None:
            await self._shared_transaction.rollback()
        self._shared = self._shared_transaction = None
        self._connection_map.pop(asyncio.current_task(), None)
        self.is_connected = False
        _connected.discard(self)
        await self._backend.disconnect()

    def connection(self) -> Connection:  # type: ignore[override]  # of the same methods
        return self._of_task() or Connection(self._backend, self._connection_map)

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> Transaction:
        return Transaction(self.connection, force_rollback, options)

    def _of_task(self) -> Connection | None:
        return self._shared or self._connection_map.get(asyncio.current_task())

    def runner(self) -> Any:
        if (self._connection_map or self._shared) and (connection := self._of_task()):
            return connection.runner()
        return self._backend


def _backend_class(url: DatabaseURL, options: Iterable[str]) -> type[Any]:
    if url.scheme not in BACKENDS:
        raise ValueError(f"{url.scheme}:// is no database known here; it is sqlite:/// or postgresql://")
    module, name = BACKENDS[url.scheme]
    found: type[Any] = getattr(importlib.import_module(module), name)
    known = list(inspect.signature(found).parameters)[1:]
    if unknown := ", ".join(option for option in options if option not in known):
        kind = name.removesuffix("Backend")
        raise ValueError(f"{unknown}: no option of a {kind} database here; there are {', '.join(known)}")
    return found


class _Forked:
    """Refuses every call in a forked child: threads, sockets and locks do not survive a fork."""

    def __getattr__(self, name: str) -> Any:
        raise ForkedError


_connected: "weakref.WeakSet[Database]" = weakref.WeakSet()


def _refuse() -> None:
    for database in _connected:
        database._backend = _Forked()
        database._connection_map.clear()
        database._shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse)
