"""`databases.Database` with its API and our backends."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

import databases

from durable_database.connection import Connection
from durable_database.interfaces import Backend, Query, Runner, Values, Want
from durable_database.transaction import Transaction


class Database(databases.Database):
    SUPPORTED_BACKENDS = {  # noqa: RUF012 (as `databases` declares it)
        **databases.Database.SUPPORTED_BACKENDS,
        "sqlite": "durable_database.sqlite:SQLiteBackend",
        "postgresql": "durable_database.postgres:PostgreSQLBackend",
    }
    _global_connection: Connection | None
    _global_transaction: Transaction | None

    async def connect(self) -> None:
        if self.is_connected:
            return
        await self._backend.connect()
        self.is_connected = True
        if self._force_rollback:
            self._global_connection = Connection(self, self._backend)
            self._global_transaction = self._global_connection.transaction(force_rollback=True)
            await self._global_transaction.__aenter__()

    def connection(self) -> Connection:
        connection = self._of_task()
        if connection is None:
            connection = Connection(self, self._backend)
            self._connection_map[self._current_task] = connection
        return connection

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> Transaction:
        return Transaction(self.connection, force_rollback, **options)

    def _of_task(self) -> Connection | None:
        if self._global_connection is not None:
            return self._global_connection
        return cast("Connection | None", self._connection_map.get(cast(Any, asyncio.current_task())))

    def _runner(self) -> Runner:
        """The task's session if it has one; without, no Connection is made for a single statement."""
        connection = self._of_task()
        if connection is not None and connection.is_open:
            return connection.session
        return cast(Backend, self._backend)

    async def fetch_all(self, query: Query, values: Values = None) -> list[Any]:
        rows: list[Any] = await self._runner().run(query, values, Want.ALL)
        return rows

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
        """Several writes in one commit, all of them or none, for a fraction of a transaction's cost."""
        return await self._runner().batch(statements) if statements else []

    def iterate(self, query: Query, values: Values = None) -> AsyncGenerator[Any, None]:
        return self._runner().stream(query, values)
