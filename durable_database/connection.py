"""A task's connection, on any backend."""

import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import databases.core

from durable_database.completion import complete
from durable_database.interfaces import Query, Session, Values, Want
from durable_database.transaction import Transaction

if TYPE_CHECKING:
    from durable_database.core import Database


class Connection(databases.core.Connection):
    """Runs on a session. Sessions that have one wire put their statements in a queue themselves."""

    def __init__(self, database: "Database", backend: Any) -> None:
        super().__init__(database, backend)
        self._task = weakref.ref(database._current_task)

    @property
    def session(self) -> Session:
        return cast(Session, self._connection)

    @property
    def is_open(self) -> bool:
        return self._connection_counter > 0

    async def __aexit__(self, *exc_info: object) -> None:
        await complete(self.leave())

    async def leave(self) -> None:
        async with self._connection_lock:
            self._connection_counter -= 1
            if self._connection_counter:
                return
            # The task that opened it: the one that closes it, in a teardown, may be another.
            if task := self._task():
                self._database._connection_map.pop(task, None)
            await self._connection.release()

    async def fetch_all(self, query: Query, values: Values = None) -> list[Any]:
        rows: list[Any] = await self.session.run(query, values, Want.ALL)
        return rows

    async def fetch_one(self, query: Query, values: Values = None) -> Any:
        return await self.session.run(query, values, Want.ONE)

    async def fetch_val(self, query: Query, values: Values = None, column: Any = 0) -> Any:
        row = await self.session.run(query, values, Want.ONE)
        return None if row is None else row[column]

    async def execute(self, query: Query, values: Values = None) -> Any:
        return await self.session.run(query, values, Want.RESULT)

    async def execute_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        if values:
            await self.session.run_many(query, values)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        return await self.session.batch(statements) if statements else []

    def iterate(self, query: Query, values: Values = None) -> AsyncGenerator[Any, None]:
        return self.session.stream(query, values)

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> Transaction:
        return Transaction(lambda: self, force_rollback, **options)
