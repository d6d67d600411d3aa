"""`databases.Database` with its API, our backends, and transactions that are functions."""

import asyncio
import importlib
import inspect
import os
import weakref
from collections.abc import Iterable
from typing import Any, Self

import databases
from databases import DatabaseURL

from durable_database import sqlite as _sqlite  # noqa: F401 (here, not in each worker)
from durable_database.errors import ForkedError
from durable_database.transaction import Connection, Queries, Transaction

BACKENDS = {
    "sqlite": ("durable_database.sqlite", "SQLiteBackend"),
    "postgresql": ("durable_database.postgresql", "PostgreSQLBackend"),
}


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
        self._connections: Any = vars(self._connection_map)[
            "data"
        ]  # its length is asked for by each statement
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

    def _runner(self) -> Any:
        """Returns the task's session, or the backend: a single statement needs no Connection."""
        if self._connections or self._shared:
            connection = self._of_task()
            if connection is not None and connection.is_open:
                return connection.session
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
