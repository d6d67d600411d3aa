import asyncio
from collections.abc import Awaitable, Callable

from coachman.serving.tasks import SharedTasks


def ran(body: Callable[[SharedTasks], Awaitable[None]]) -> list[tuple[str, str]]:
    """Which tasks died, by name, and of what."""
    died: list[tuple[str, str]] = []

    async def run() -> None:
        tasks = SharedTasks(lambda name, error: died.append((name, repr(error))))
        await body(tasks)
        tasks.cancel()
        await turns()

    asyncio.run(run())
    return died


async def turns() -> None:
    """Enough of the event loop for a task to end, and to be told of."""
    for _ in range(5):
        await asyncio.sleep(0)


async def fail() -> None:
    raise ValueError("broken")


async def forever() -> None:
    await asyncio.sleep(60)


def test_a_task_that_raises_or_returns_is_told_of_by_its_name() -> None:
    async def body(tasks: SharedTasks) -> None:
        tasks.start("one", fail())
        tasks.start("two", asyncio.sleep(0))
        tasks.start("three", forever())
        await turns()

    assert sorted(ran(body)) == [("one", "ValueError('broken')"), ("two", "None")]


def test_a_task_that_is_told_to_end_is_not_told_of() -> None:
    async def body(tasks: SharedTasks) -> None:
        tasks.start("one", forever())
        tasks.release(tasks.start("two", fail()))
        await turns()

    assert ran(body) == []
