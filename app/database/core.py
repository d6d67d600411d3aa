"""`databases.Database` on our SQLite backend, and `uninterrupted`."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import databases

P = ParamSpec("P")
T = TypeVar("T")


class PoolTimeout(TimeoutError):  # noqa: N818 (the standard library's own name ends so)
    """Every pooled connection stayed in use for longer than one may wait."""


class Database(databases.Database):
    SUPPORTED_BACKENDS = {  # noqa: RUF012 (as `databases` declares it)
        **databases.Database.SUPPORTED_BACKENDS,
        "sqlite": "app.database.sqlite:PooledSQLiteBackend",
    }


def sqlite_file(url: str) -> Path:
    """The file that a sqlite:/// URL names."""
    return Path(databases.DatabaseURL(url).database)


def uninterrupted(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Awaitable[T]]:
    """`function` that, once begun, runs to its end; only then does a cancellation reach the caller."""

    # `databases` leaks the connection, in an open transaction, when BEGIN or COMMIT is cancelled;
    # later writes of the same task are then acknowledged and lost.
    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(function(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
            task.cancelled() or task.exception()  # looked at, so that asyncio does not report it
            raise

    return run
