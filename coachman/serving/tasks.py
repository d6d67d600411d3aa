"""Tasks that serve all connections of a process, whose death must not go unnoticed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SharedTasks:
    """Runs each task until `cancel`, and reports by name a task that ends before."""

    def __init__(self, has_died: Callable[[str, BaseException | None], None]) -> None:
        self._has_died = has_died
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Starts `work`, which is not to end before `cancel` or `release`."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def release(self, task: "asyncio.Task[None]") -> None:
        """Its end is expected from here on."""
        self._tasks.discard(task)

    def cancel(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if task in self._tasks:
            self._tasks.discard(task)
            self._has_died(task.get_name(), None if task.cancelled() else task.exception())
        elif not task.cancelled():
            task.exception()  # retrieved, or asyncio logs that it never was
