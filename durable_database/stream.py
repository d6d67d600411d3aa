"""Rows of a long result, read in chunks."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable

from durable_database.compiler import Arguments, Plan
from durable_database.readers import Readers
from durable_database.records import Record
from durable_database.statements import shape_of

FIRST_ROWS = 128
MOST_ROWS = 512


class Cursor:
    """Its methods run in the lane's thread."""

    def __init__(self, plan: Plan, arguments: Arguments) -> None:
        self._plan = plan
        self._arguments = arguments
        self._cursor: sqlite3.Cursor | None = None

    def more(self, raw: sqlite3.Connection, rows: int) -> list[Record]:
        if self._cursor is None:
            self._cursor = raw.execute(self._plan.sql, self._arguments)
        found = self._cursor.fetchmany(rows)
        return shape_of(self._plan, self._cursor).records(found) if found else []

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()


async def stream(readers: Readers, plan: Plan, arguments: Arguments) -> AsyncGenerator[Record, None]:
    """On a lane of its own: the consumer may write meanwhile, or never come back."""
    lane = await readers.lease()
    cursor = Cursor(plan, arguments)

    def close() -> None:
        cursor.close()
        lane.tell(readers.give_back, lane)

    def more(rows: int) -> asyncio.Future[list[Record]]:
        return lane.call(cursor.more, lane.raw, rows)

    size = FIRST_ROWS
    try:
        records = await more(size)
        while records:
            last = len(records) < size
            size = min(size * 2, MOST_ROWS)
            # The next chunk is read while the consumer works on this one.
            following = None if last else more(size)
            for record in records:
                yield record
            records = [] if following is None else await following
    finally:
        lane.post(close)


async def read(more: Callable[[int], Awaitable[list[Record]]]) -> AsyncGenerator[Record, None]:
    """Chunk by chunk, nothing ahead: in a transaction a later chunk must see what was written meanwhile."""
    size = FIRST_ROWS
    while True:
        records = await more(size)
        for record in records:
            yield record
        if len(records) < size:
            return
        size = min(size * 2, MOST_ROWS)
