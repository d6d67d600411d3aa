"""A SQLite backend for `databases` whose connections are opened once, not once per query."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiosqlite
from databases import DatabaseURL
from databases.backends.sqlite import SQLiteBackend, SQLiteConnection, SQLiteTransaction
from sqlalchemy import Row
from sqlalchemy.engine.cursor import CursorResultMetaData
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql import ClauseElement

from app.database.core import PoolTimeout

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")


class Pool:
    """Long-lived connections, each used by one borrower at a time."""

    def __init__(self, path: str, size: int, acquire_seconds: float) -> None:
        self._path = path
        self._size = size
        self._acquire_seconds = acquire_seconds
        self._all: list[aiosqlite.Connection] = []
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._resets: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> int:
        return self._free.qsize()

    async def open(self) -> None:
        self._free = asyncio.Queue()
        try:
            for _ in range(self._size):
                await self._open_one()
        except BaseException:
            await self.close()
            raise

    async def _open_one(self) -> None:
        # mode=rw: a wrong path is an error, not a new and empty database.
        connection = aiosqlite.connect(f"file:{quote(self._path)}?mode=rw", uri=True, isolation_level=None)
        # A server told twice to stop skips the lifespan's end: its exit must not wait for this thread.
        connection._thread.daemon = True
        try:
            self._all.append(await connection)
        except sqlite3.Error:
            # Its thread reports its own end to the loop, which may be closed by then.
            while connection._thread.is_alive():  # noqa: ASYNC110 (a thread has no event to await)
                await asyncio.sleep(0.001)
            raise
        for pragma in PRAGMAS:
            await connection.execute_fetchall(f"PRAGMA {pragma}")
        self._free.put_nowait(connection)

    async def close(self) -> None:
        if self._resets:
            await asyncio.wait(self._resets)
        while self._all:
            await self._all.pop().close()

    async def acquire(self) -> aiosqlite.Connection:
        try:
            async with asyncio.timeout(self._acquire_seconds):
                return await self._free.get()
        except TimeoutError:
            raise PoolTimeout(f"no database connection became free in {self._acquire_seconds:g} s") from None

    async def release(self, connection: aiosqlite.Connection) -> None:
        if not connection.in_transaction:
            self._free.put_nowait(connection)
            return
        # In a task of its own: the borrower may be cancelled, again and again, while it gives back.
        reset = asyncio.create_task(self._reset(connection))
        self._resets.add(reset)
        reset.add_done_callback(self._resets.discard)

    async def _reset(self, connection: aiosqlite.Connection) -> None:
        try:
            await connection.rollback()
        finally:
            self._free.put_nowait(connection)


class Record(Row[Any]):
    """A row that is read by position, column or name."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, int | slice) else self._mapping[key]


class PooledSQLiteBackend(SQLiteBackend):
    def __init__(self, url: DatabaseURL | str, size: int = 4, acquire_seconds: float = 5.0) -> None:
        super().__init__(url)
        self.pool = Pool(DatabaseURL(url).database, size, acquire_seconds)

    async def connect(self) -> None:
        await self.pool.open()

    async def disconnect(self) -> None:
        await self.pool.close()

    def connection(self) -> "PooledSQLiteConnection":
        return PooledSQLiteConnection(self.pool, self._dialect)


class PooledSQLiteConnection(SQLiteConnection):
    _pool: Pool  # type: ignore[assignment]  # the stock pool is a class, not an interface

    def __init__(self, pool: Pool, dialect: Dialect) -> None:
        super().__init__(pool, dialect)  # type: ignore[arg-type]

    async def fetch_all(self, query: ClauseElement) -> list[Any]:
        return await self._fetch(query, _all)

    async def fetch_one(self, query: ClauseElement) -> Any:
        rows = await self._fetch(query, _first)
        return rows[0] if rows else None

    async def execute(self, query: ClauseElement) -> Any:
        """The new row's id for an INSERT, else the number of rows changed."""
        sql, arguments, _, _ = self._compile(query)  # type: ignore[misc]
        inserts = sql.lstrip()[:7].upper() in ("INSERT ", "REPLACE")
        return await self._in_thread(_new_id if inserts else _count, sql, arguments)

    async def _fetch(self, query: ClauseElement, read: Callable[..., Any]) -> list[Record]:
        sql, arguments, _, context = self._compile(query)  # type: ignore[misc]
        rows, description = await self._in_thread(read, sql, arguments)
        if not rows:
            return []
        metadata = CursorResultMetaData(context, description)
        processors, positions = metadata._processors, metadata._key_to_index
        return [Record(metadata, processors, positions, row) for row in rows]

    async def _in_thread(self, read: Callable[..., Any], sql: str, arguments: list[Any]) -> Any:
        # One hop to the connection's thread, not one for each of execute, fetch and close: it is
        # faster, and a cancelled caller cannot leave an open cursor, which would pin old data.
        connection: Any = self._connection
        assert connection is not None, "Connection is not acquired"

        def run() -> Any:
            with contextlib.closing(connection._conn.execute(sql, arguments)) as cursor:
                return read(cursor)

        return await connection._execute(run)

    def transaction(self) -> "ImmediateTransaction":
        return ImmediateTransaction(self)


class ImmediateTransaction(SQLiteTransaction):
    async def start(self, is_root: bool, extra_options: dict[Any, Any]) -> None:
        if not is_root:
            await super().start(is_root, extra_options)
            return
        self._is_root = True
        # A deferred one that reads and then writes fails at once when another process wrote in between.
        assert self._connection._connection is not None, "Connection is not acquired"
        await self._connection._connection.execute_fetchall("BEGIN IMMEDIATE")


def _all(cursor: sqlite3.Cursor) -> tuple[list[Any], Any]:
    return cursor.fetchall(), cursor.description


def _first(cursor: sqlite3.Cursor) -> tuple[list[Any], Any]:
    return cursor.fetchmany(1), cursor.description


def _new_id(cursor: sqlite3.Cursor) -> int | None:
    return cursor.lastrowid


def _count(cursor: sqlite3.Cursor) -> int:
    return cursor.rowcount
