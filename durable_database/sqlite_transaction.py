"""A transaction of a task on SQLite: a function in a lane, to which the task sends what it is to run."""

import asyncio
import math
import queue
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any, NoReturn

from durable_database.errors import rolled_back
from durable_database.lane import Lane, outcome, settle
from durable_database.statements import Record, Statement, Work
from durable_database.writer import Kind, inside, refuse_child_task, run_in_savepoint

FIRST_ROWS = 256
MOST_ROWS = 512


class UndoneError(Exception):
    """Raised to roll back a transaction that its task has rolled back."""


class OpenTransaction:
    """`async with database.transaction()`: a function that runs what its task sends to it.

    It takes a lane when it is sent the first statement, with which BEGIN travels.
    """

    def __init__(self, backend: Any, *, readonly: bool, limited: bool = True) -> None:
        self.task = asyncio.current_task()
        self.open = True
        self._backend = backend
        self._readonly = readonly
        self._limited = limited
        self._inbox: queue.SimpleQueue[tuple[asyncio.Future[Any] | None, Any]] = queue.SimpleQueue()
        self._served: asyncio.Future[Any] | None = None
        self._lane: Lane | None = None
        self._under_way = 0
        self._cursors: list[sqlite3.Cursor] = []
        if not readonly:
            refuse_child_task()
            inside.set(self)
        backend.open_transactions.add(self)

    async def do(self, work: Work) -> Any:
        if isinstance(work, Statement):
            return await self.run(lambda lane: lane.run(work), interrupt=not work.writes)
        return await self.run(partial(run_in_savepoint, lambda lane: lane.run(work)))

    async def run(self, run: Callable[[Lane], Any], *, interrupt: bool = False) -> Any:
        if self._served is None:
            self._served = self._take_lane()
            self._served.add_done_callback(self._fail_rest)
        elif self._served.done():
            raise self._error() or rolled_back()
        future = asyncio.get_running_loop().create_future()
        self._inbox.put((future, run))
        self._under_way += 1
        try:
            return await future
        except asyncio.CancelledError:
            # The end of the transaction would wait for a long SELECT. It must be that of this task.
            if interrupt and self._under_way == 1 and self._lane is not None:
                self._lane.raw.interrupt()
            raise
        finally:
            self._under_way -= 1

    def _take_lane(self) -> "asyncio.Future[Any]":
        since = time.monotonic()

        def serve(lane: Lane) -> Any:
            if not self._readonly:  # readers observe it themselves
                lane.tell(self._backend.observe, "pool_wait_seconds", time.monotonic() - since)
            return lane.within(self._serve, lane) if self._limited else self._serve(lane)

        if self._readonly:
            return asyncio.create_task(self._backend.read(serve))
        served: asyncio.Future[Any] = self._backend.write(serve, Kind.TRANSACTION)
        return served

    def _serve(self, lane: Lane) -> Any:
        """Runs in the lane's thread, between BEGIN and its end."""
        self._lane = lane
        try:
            while True:
                left = None if lane.until == math.inf else max(lane.until - time.monotonic(), 0)
                future, run = self._inbox.get(timeout=left)
                if future is None:
                    self._check_end(lane, committed=run)
                    return
                lane.tell(settle, [outcome(future, self._step, run, lane)])
        except queue.Empty:
            raise lane.late() from None
        finally:
            self._lane = None
            for cursor in self._cursors:
                cursor.close()

    def _step(self, run: Callable[[Lane], Any], lane: Lane) -> Any:
        if not lane.raw.in_transaction:
            raise rolled_back()
        return lane.within(run, lane) if self._limited else run(lane)

    def _check_end(self, lane: Lane, *, committed: bool) -> None:
        if not committed:
            raise UndoneError
        if not lane.raw.in_transaction:
            raise rolled_back()

    def _fail_rest(self, served: "asyncio.Future[Any]") -> None:
        error = self._error() or rolled_back()
        while not self._inbox.empty():
            future, _ = self._inbox.get_nowait()
            if future is not None and not future.done():
                future.set_exception(error)
        self._inbox.put((None, False))  # for its lane, should that have begun at the same instant

    async def stream(self, statement: Statement, *, is_all: bool = False) -> AsyncGenerator[Record, None]:
        """Streams without reading ahead: a later chunk must see what the transaction has written meanwhile.

        It ends with the stream where that `is_all` that it is for.
        """
        plan, arguments, _ = statement
        cursors: list[sqlite3.Cursor] = []

        def more(lane: Lane) -> list[Record]:
            if not cursors:
                cursors.append(lane.raw.execute(plan.sql, arguments))
                self._cursors.extend(cursors)
            return plan.records(cursors[0].description, cursors[0].fetchmany(size))

        size = FIRST_ROWS
        try:
            while records := await self.run(more, interrupt=not statement.writes):
                for record in records:
                    yield record
                if len(records) < size:
                    return
                size = min(size * 2, MOST_ROWS)
        finally:
            if is_all:
                await self.end(committed=statement.writes)

    async def end(self, *, committed: bool) -> None:
        self.open = False
        self._backend.open_transactions.discard(self)
        if self._served is None:  # it was sent nothing
            return
        self._inbox.put((None, committed))
        if not committed and self._lane is None:
            self._served.cancel()  # it has no lane yet, and needs none any more
        await asyncio.wait({self._served})
        if committed and (error := self._error()):
            raise error

    def _error(self) -> BaseException | None:
        """Returns the error with which the lane ended the transaction, if any."""
        served = self._served
        return None if served is None or served.cancelled() else served.exception()


class SQLiteSession:
    """What a task's connection runs on: outside of a transaction, on whatever lane is free."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._root: OpenTransaction | None = None
        self._depth = 0

    async def acquire(self) -> None:
        pass

    async def release(self) -> None:
        if self._root is not None:
            await self.end(None, committed=False)

    async def do(self, work: Work) -> Any:
        return await (self._root or self._backend).do(work)

    def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        return (self._root or self._backend).stream(statement)

    async def begin(self, *, readonly: bool = False) -> str | None:
        """Begins a transaction, or inside one a savepoint, whose name it returns."""
        if self._root is None:
            # Always for writing: one that reads and then writes would fail when another wrote in between.
            self._root = OpenTransaction(self._backend, readonly=readonly)
            return None
        self._depth += 1
        await self._control(f"SAVEPOINT inner{self._depth}")
        return f"inner{self._depth}"

    async def end(self, savepoint: str | None, *, committed: bool) -> None:
        assert self._root is not None, "the outer transaction is over"
        if savepoint is None:
            root, self._root = self._root, None
            await root.end(committed=committed)
            return
        self._depth -= 1
        if not committed:
            await self._control(f"ROLLBACK TO {savepoint}")
        await self._control(f"RELEASE {savepoint}")

    async def _control(self, sql: str) -> None:
        assert self._root is not None
        await self._root.run(lambda lane: lane.raw.execute(sql).close())

    @property
    def raw_connection(self) -> NoReturn:
        raise RuntimeError(
            "raw_connection is not available on SQLite: its statements would bypass the write queue, "
            "and a transaction begins with its first statement only"
        )
