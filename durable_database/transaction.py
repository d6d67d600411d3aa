"""A task's connection, and transactions that cannot be left half begun or half ended, on any backend."""

import asyncio
import functools
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any

from durable_database.completion import complete
from durable_database.statements import Query, Values, Want


class Connection:
    """Runs on a session, which the first to enter it acquires and the last to leave it releases."""

    def __init__(
        self, backend: Any, by_task: "weakref.WeakKeyDictionary[Any, Connection] | None" = None
    ) -> None:
        self.session: Any = backend.connection()
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
        stream: AsyncGenerator[Any, None] = self.session.stream(query, values)
        return stream

    def transaction(self, *, force_rollback: bool = False, **options: Any) -> "Transaction":
        return Transaction(lambda: self, force_rollback, **options)


class Transaction:
    """`databases` leaves its connection in an open transaction when BEGIN or COMMIT is cancelled or
    fails; later writes of the same task are then acknowledged and lost."""

    def __init__(self, connection: Callable[[], Connection], force_rollback: bool, **options: Any) -> None:
        self._connection_of_task = connection
        self._force_rollback = force_rollback
        self._options = options
        # Kept: in another task, as that of a teardown, `connection()` would be another one.
        self.connection: Connection | None = None
        self._on_backend: Any = None

    async def __aenter__(self) -> "Transaction":
        return await self.start()

    async def __aexit__(self, exc_type: type[BaseException] | None = None, *exc_info: object) -> None:
        if exc_type is not None or self._force_rollback:
            await self.rollback()
        else:
            await self.commit()

    def __await__(self) -> "Generator[Any, None, Transaction]":
        return self.start().__await__()

    def __call__(self, function: Callable[..., Any]) -> Any:
        # One for each call: calls may run at the same time.
        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            async with Transaction(self._connection_of_task, self._force_rollback, **self._options):
                return await function(*args, **kwargs)

        return run

    async def start(self) -> "Transaction":
        self.connection = connection = self._connection_of_task()
        async with connection.lock:
            await connection.__aenter__()
            try:
                self._on_backend = connection.session.transaction()
                await self._on_backend.start(not connection.transactions, self._options)
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
                await (self._on_backend.commit() if committed else self._on_backend.rollback())
            finally:
                await connection.leave()
