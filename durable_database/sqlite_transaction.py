"""A transaction on SQLite, which takes a lane when it sends its first statement."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Protocol

from durable_database import statements
from durable_database.compiler import Arguments, Plan
from durable_database.errors import PoolTimeout, TransactionTimeout, rolled_back
from durable_database.group_commit import run_in_savepoint
from durable_database.lane import Lane
from durable_database.readers import Cursor, Readers, in_chunks
from durable_database.statements import Statement, Want
from durable_database.writer import Writer, inside, refuse_child_task


class Backend(Protocol):
    """What a transaction uses of the SQLiteBackend."""

    readers: Readers
    writer: Writer
    acquire_seconds: float
    transaction_seconds: float

    def require_file(self) -> None: ...


class Session(Protocol):
    """What a transaction uses of the SQLiteSession that it belongs to."""

    root: "RootTransaction | None"

    @property
    def backend(self) -> Backend: ...


class SQLiteTransaction:
    """What `databases` calls a transaction: the outermost one, or a savepoint in it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._savepoint: str | None = None

    async def start(self, is_root: bool, extra_options: Mapping[Any, Any]) -> None:
        if is_root:
            kind = ReadTransaction if extra_options.get("readonly") else WriteTransaction
            self._session.root = kind(self._session.backend)
            return
        root = self._root
        root.depth += 1
        self._savepoint = f"inner{root.depth}"
        await root.run(_control(f"SAVEPOINT {self._savepoint}"))

    async def commit(self) -> None:
        if self._savepoint is None:
            await self._take_root().end("COMMIT")
        else:
            await self._leave(f"RELEASE {self._savepoint}")

    async def rollback(self) -> None:
        if self._savepoint is None:
            await self._take_root().end("ROLLBACK")
        else:
            await self._leave(f"ROLLBACK TO {self._savepoint}", f"RELEASE {self._savepoint}")

    async def _leave(self, *sql: str) -> None:
        self._root.depth -= 1
        for each in sql:
            await self._root.run(_control(each))

    @property
    def _root(self) -> "RootTransaction":
        assert self._session.root is not None, "the outer transaction is over"
        return self._session.root

    def _take_root(self) -> "RootTransaction":
        root, self._session.root = self._root, None
        return root


class RootTransaction:
    """Lazy: nothing is locked until the first statement, with which BEGIN travels."""

    begin: str

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.depth = 0
        self.open = True
        self.task = asyncio.current_task()
        self._lane: Lane | None = None
        self._taking = asyncio.Lock()  # where several tasks share a connection, one takes the lane for all
        self._under_way = 0
        self._begun = False
        self._running: asyncio.Future[Any] | None = None
        self._over: TimeoutError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cursors: list[Cursor] = []

    async def run(self, statement: Statement) -> Any:
        interrupt = not statement.plan.writes
        return await self._in_lane(lambda lane: statements.run(lane.raw, *statement), interrupt=interrupt)

    async def atomically(self, function: Callable[[Lane], Any]) -> Any:
        """What it wrote is undone alone when it fails."""
        return await self._in_lane(lambda lane: run_in_savepoint(lane.raw, lambda: function(lane)))

    async def stream(self, plan: Plan, arguments: Arguments) -> AsyncGenerator[Any, None]:
        cursor = Cursor(plan, arguments)
        self._cursors.append(cursor)

        async def more(rows: int) -> Any:
            return await self._in_lane(lambda lane: cursor.more(lane.raw, rows))

        async for record in in_chunks(more):
            yield record

    async def _in_lane(self, function: Callable[[Lane], Any], *, interrupt: bool = False) -> Any:
        if self._over:
            raise self._over
        lane = self._lane or await self._take_lane()
        self._running = lane.call(self._begin_and_run, lane, function)
        self._under_way += 1
        try:
            return await self._running
        except asyncio.CancelledError:
            # The end of the transaction would wait for a long SELECT. It must be that of this task.
            if interrupt and self._under_way == 1:
                lane.raw.interrupt()
            raise
        finally:
            self._under_way -= 1

    async def _take_lane(self) -> Lane:
        async with self._taking:
            if self._lane is None:
                self._lane = await self._lease()
                loop, seconds = asyncio.get_running_loop(), self.backend.acquire_seconds
                wait = min(seconds, self.backend.transaction_seconds)
                self._timer = loop.call_later(wait, self._check_begun)
            return self._lane

    def _begin_and_run(self, lane: Lane, function: Callable[[Lane], Any]) -> Any:
        """Runs in the lane's thread."""
        if not self._begun:
            self._wait_for_turn()
            self._begun = True
            lane.raw.execute(self.begin)
        elif not lane.raw.in_transaction:
            raise rolled_back()
        return function(lane)

    def _check_begun(self) -> None:
        backend = self.backend
        if not self._begun:  # another process keeps the gate; it may be stopped
            self._give_up(PoolTimeout(f"the writer was not free for {backend.acquire_seconds:g} s"))
            return
        more = max(backend.transaction_seconds - backend.acquire_seconds, 0)
        self._timer = asyncio.get_running_loop().call_later(more, self._expire)

    def _expire(self) -> None:
        seconds = self.backend.transaction_seconds
        self._give_up(TransactionTimeout(f"a transaction was open for {seconds:g} s and is rolled back"))

    def _give_up(self, error: TimeoutError) -> None:
        self._over = error
        self._finish("ROLLBACK")
        if self._running and not self._running.done():
            self._running.set_exception(error)

    async def end(self, sql: str) -> None:
        self.open = False
        if self._over:
            if sql == "COMMIT":
                raise self._over
            return
        ended = self._finish(sql)
        if ended is not None:
            await ended

    def _finish(self, sql: str) -> "asyncio.Future[None] | None":
        """Ends it in one job of the lane's queue, which no cancelled caller can leave half done."""
        lane, self._lane = self._lane, None
        if self._timer:
            self._timer.cancel()
        if lane is None:
            return None

        def job() -> None:
            try:
                _end(lane.raw, sql, self._cursors)
            finally:
                self._give_back(lane)

        return lane.call(job)

    async def _lease(self) -> Lane:
        """The kind of transaction says which lane: below."""
        raise NotImplementedError

    def _wait_for_turn(self) -> None:
        """Runs in the lane's thread, before BEGIN."""

    def _give_back(self, lane: Lane) -> None:
        """Runs in the lane's thread."""
        raise NotImplementedError


class ReadTransaction(RootTransaction):
    """One snapshot for several reads, on a spare lane; it keeps nobody from writing."""

    begin = "BEGIN"

    async def _lease(self) -> Lane:
        return await self.backend.readers.lease()

    def _give_back(self, lane: Lane) -> None:
        lane.tell(self.backend.readers.give_back, lane)


class WriteTransaction(RootTransaction):
    # A deferred one that reads and then writes fails at once when another process wrote in between.
    begin = "BEGIN IMMEDIATE"

    def __init__(self, backend: Backend) -> None:
        refuse_child_task()
        super().__init__(backend)
        inside.set(self)

    async def _lease(self) -> Lane:
        self.backend.require_file()
        await self.backend.writer.lease()
        return self.backend.writer.lane

    def _wait_for_turn(self) -> None:
        self.backend.writer.gate.acquire()

    def _give_back(self, lane: Lane) -> None:
        writer = self.backend.writer
        writer.gate.release(wanted=writer.wanted())
        lane.tell(writer.release)


def _end(raw: sqlite3.Connection, sql: str, cursors: Sequence[Cursor]) -> None:
    """Runs in the lane's thread. However it ends, no transaction and no cursor is left open."""
    try:
        for cursor in cursors:
            cursor.close()
        if raw.in_transaction:
            raw.execute(sql)
        elif sql == "COMMIT":
            raise rolled_back()
    finally:
        if raw.in_transaction:  # a deferred constraint refused the COMMIT
            raw.execute("ROLLBACK")


def _control(sql: str) -> Statement:
    return Statement(Plan(sql), (), Want.RESULT)
