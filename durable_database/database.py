"""`databases.Database` with its API, our backends, and transactions that are functions."""

import asyncio
import contextlib
import importlib
import inspect
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import databases
from databases import DatabaseURL
from sqlalchemy import Connection as SQLAlchemyConnection

from durable_database import sqlite as _sqlite  # noqa: F401 (here, not in each worker)
from durable_database.errors import ForkedError
from durable_database.statements import Query, Values, Want
from durable_database.transaction import Connection, Transaction

P = ParamSpec("P")
T = TypeVar("T")
BACKENDS = {
    "sqlite": ("durable_database.sqlite", "SQLiteBackend"),
    "postgresql": ("durable_database.postgresql", "PostgreSQLBackend"),
}


class Runner(Protocol):
    """Runs statements. A backend does so outside of any transaction, a session inside the one it has."""

    async def run(self, query: Query, values: Values, want: Want) -> Any: ...
    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None: ...
    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]: ...
    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, write: bool) -> Any: ...
    def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]: ...


class Database(databases.Database):
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
        self._backend: Any = _backend_class(self.url)(self.url, **options)

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
        connection = self._of_task()
        if connection is None:
            connection = Connection(self._backend, self._connection_map)
        return connection

    def transaction(  # type: ignore[override]  # of the same methods
        self, *, force_rollback: bool = False, **options: Any
    ) -> Transaction:
        return Transaction(self.connection, force_rollback, **options)

    @contextlib.contextmanager
    def force_rollback(self) -> Iterator[None]:
        before, self._force_rollback = self._force_rollback, True
        try:
            yield
        finally:
            self._force_rollback = before

    def _of_task(self) -> Connection | None:
        return self._shared or self._connection_map.get(asyncio.current_task())

    def _runner(self) -> Runner:
        """The task's session if it has one; without, no Connection is made for a single statement."""
        if self._connection_map or self._shared:
            connection = self._of_task()
            if connection is not None and connection.is_open:
                return cast(Runner, connection.session)
        return cast(Runner, self._backend)

    async def write(
        self,
        function: Callable[Concatenate[SQLAlchemyConnection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What `function(connection, *args, **kwargs)` returns, once what it wrote is on the disk.

        It runs to its end where the connection is, in a thread, inside one transaction: no other task or
        process writes meanwhile, and nothing waits for the event loop. It is undone when it raises. Functions
        that wait at the same time share one commit, each in a savepoint; should another one spoil that, it is
        undone and run again, so that it may have no effect but on its connection. PoolTimeout when its turn
        does not come; a caller that is cancelled does not learn whether it was committed.
        """
        return cast(T, await self._call(function, args, kwargs, write=True))

    async def read(
        self,
        function: Callable[Concatenate[SQLAlchemyConnection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What `function(connection, *args, **kwargs)` returns: all its statements see one state.

        It runs in a thread, may not write, and keeps nobody from writing.
        """
        return cast(T, await self._call(function, args, kwargs, write=False))

    async def _call(self, function: Callable[..., Any], args: Any, kwargs: Any, *, write: bool) -> Any:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__qualname__} is a coroutine function; what runs where the connection is awaits "
                "nothing: make it a plain `def`"
            )
        if kwargs:
            given = function

            def function(connection: Any, *args: Any) -> Any:
                return given(connection, *args, **kwargs)

        return await self._runner().call(function, args, write=write)

    async def fetch_all(self, query: Query, values: Values = None) -> list[Any]:
        return cast("list[Any]", await self._runner().run(query, values, Want.ALL))

    async def fetch_one(self, query: Query, values: Values = None) -> Any:
        return await self._runner().run(query, values, Want.ONE)

    async def fetch_val(self, query: Query, values: Values = None, column: Any = 0) -> Any:
        row = await self._runner().run(query, values, Want.ONE)
        return None if row is None else row[column]

    async def execute(self, query: Query, values: Values = None) -> Any:
        """The new row's id for an INSERT, else the number of rows changed."""
        return await self._runner().run(query, values, Want.RESULT)

    async def execute_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        """All of them or none."""
        if values:
            await self._runner().run_many(query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        """Several writes in one commit, all of them or none: the result of each."""
        return await self._runner().batch(statements) if statements else []

    def iterate(self, query: Query, values: Values = None) -> AsyncGenerator[Any, None]:
        return self._runner().stream(query, values)


def _backend_class(url: DatabaseURL) -> type[Any]:
    if url.scheme not in BACKENDS:
        raise ValueError(f"{url.scheme}:// is no database known here; it is sqlite:/// or postgresql://")
    module, name = BACKENDS[url.scheme]
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


class _Forked:
    """Threads, sockets and locks do not survive a fork: what was connected before it refuses in the child."""

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
