"""A long-lived SQLite connection with its thread, and one hop to it and back for a whole batch."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import quote

import aiosqlite

from durable_database.functions import Functions

# What became of a job: its future, and the error or the value.
Outcome: TypeAlias = "tuple[asyncio.Future[Any], BaseException | None, Any]"

CLOSE_SECONDS = 5
OPTIONS: dict[str, Any] = {"uri": True, "isolation_level": None, "cached_statements": 512}


def file_uri(path: str) -> str:
    # mode=rw: a wrong path is an error, not a new and empty database.
    return f"file:{quote(path)}?mode=rw"


class Lane:
    """The only place that touches what aiosqlite keeps private: its queue, its connection, its thread.

    aiosqlite's own methods wake the event loop once for each call. Here a job does the work of many
    callers and reports once: at 64 callers 1.8 times the reads of plain aiosqlite, on one core.
    """

    def __init__(self, connection: aiosqlite.Connection, seconds: float) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: Any = connection._tx
        self.raw: sqlite3.Connection = connection._conn
        self.functions = Functions(self.raw, seconds)

    @classmethod
    async def open(cls, path: str, pragmas: Iterable[str], seconds: float) -> "Lane":
        connection = aiosqlite.connect(file_uri(path), **OPTIONS)
        # A server told twice to stop skips the lifespan's end: its exit must not wait for this thread.
        connection._thread.daemon = True
        try:
            await connection
        except sqlite3.Error:
            # Its thread reports its own end to the loop, which may be closed by then.
            while connection._thread.is_alive():  # noqa: ASYNC110 (a thread has no event to await)
                await asyncio.sleep(0.001)
            raise
        lane = cls(connection, seconds)
        try:
            for pragma in pragmas:
                await connection.execute_fetchall(f"PRAGMA {pragma}")
        except BaseException:
            await lane.close()
            raise
        return lane

    def post(self, job: Callable[[], object]) -> None:
        """Has `job` run in the lane's thread, after those before it. It must not raise."""
        self._queue.put_nowait((None, job))

    def tell(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Called in the lane's thread: has `callback` run on the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def call(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """What `function` returns in the lane's thread. It runs whether or not anyone still waits."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def job() -> None:
            self.tell(settle, [attempt(future, function, *arguments)])

        self.post(job)
        return future

    async def close(self) -> None:
        # A thread that waits for a stopped process's lock is left behind: it dies with this process.
        closing = asyncio.ensure_future(self._connection.close())
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)


def attempt(future: asyncio.Future[Any], function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return future, None, function(*arguments)
    except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
        return future, error, None


def settle(outcomes: Iterable[Outcome]) -> None:
    """Gives each caller what is his; those that were cancelled meanwhile have gone."""
    for future, error, value in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(error)
