"""A transaction, on any backend, that cannot be left half begun or half ended."""

import functools
from collections.abc import Callable
from typing import Any

import databases.core
from databases.interfaces import TransactionBackend

from durable_database.completion import complete


class Transaction(databases.core.Transaction):
    """`databases` leaves its connection in an open transaction when BEGIN or COMMIT is cancelled or
    fails; later writes of the same task are then acknowledged and lost."""

    _held: Any = None
    _on_backend: TransactionBackend

    async def start(self) -> "Transaction":
        # Kept: in another task, as that of a teardown, `_connection` would be another one.
        connection: Any = self._connection
        self._held = connection
        async with connection._transaction_lock:
            is_root = not connection._transaction_stack
            await connection.__aenter__()
            try:
                self._on_backend = connection._connection.transaction()
                await self._on_backend.start(is_root, self._extra_options)
            except BaseException:
                await complete(connection.leave())
                raise
            connection._transaction_stack.append(self)
        return self

    async def commit(self) -> None:
        await complete(self._end(committed=True))

    async def rollback(self) -> None:
        await complete(self._end(committed=False))

    async def _end(self, *, committed: bool) -> None:
        connection = self._held
        async with connection._transaction_lock:
            assert connection._transaction_stack[-1] is self, "an inner transaction is still open"
            connection._transaction_stack.pop()
            try:
                await (self._on_backend.commit() if committed else self._on_backend.rollback())
            finally:
                await connection.leave()

    def __call__(self, function: Callable[..., Any]) -> Any:
        # One for each call: calls may run at the same time.
        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            new = type(self)(self._connection_callable, self._force_rollback, **self._extra_options)
            async with new:
                return await function(*args, **kwargs)

        return run
