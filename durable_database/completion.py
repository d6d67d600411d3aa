"""Coroutines that, once begun, run to their end."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns; a cancellation reaches the caller only when it has ended."""
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
    """`function`, each call of which runs to its end."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await complete(function(*args, **kwargs))

    return run
