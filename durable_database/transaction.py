"""Transactions, whole or absent on any backend: at whatever moment a task is cancelled or a COMMIT fails.

They run in a lane: a connection, with a thread (SQLite) or a greenlet (PostgreSQL) in which it is used.
"""

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, ParamSpec, TypeAlias, TypeVar

from durable_database.errors import ChildTaskError, rolled_back
from durable_database.statements import Record, Statement, Work

P = ParamSpec("P")
T = TypeVar("T")
# What became of a job: its future, and the error or the value.
Outcome: TypeAlias = "tuple[asyncio.Future[Any], BaseException | None, Any]"
Run: TypeAlias = Callable[[Any], Any]  # what is given a lane, and runs where its connection is

FIRST_ROWS = 256
MOST_ROWS = 512


async def complete(awaitable: Coroutine[Any, Any, T]) -> T:
    """Returns what `awaitable` returns. A cancellation reaches the caller only after it has ended."""
    task = asyncio.create_task(awaitable)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        task.cancelled() or task.exception()  # looked at, so that asyncio does not report it
        raise


def uninterrupted(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Awaitable[T]]:
    """Decorates `function` so that each call, once begun, runs to its end."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await complete(function(*args, **kwargs))

    return run


def outcome(future: asyncio.Future[Any], function: Callable[..., Any], *arguments: Any) -> Outcome:
    try:
        return future, None, function(*arguments)
    except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
        return future, error, None


def settle(outcomes: Iterable[Outcome]) -> None:
    """Passes each result to its caller, except to callers that were cancelled meanwhile."""
    for future, error, value in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(error)


def run_in_transaction(begin: str, run: Run, lane: Any) -> Any:
    """Returns what `run` returns, once it is committed. If it raises, its writes are rolled back."""
    try:
        lane.execute(begin)
        value = run(lane)
        lane.commit()
        return value
    finally:
        lane.leave_transaction()


def run_in_savepoint(run: Run, lane: Any) -> Any:
    """Returns what `run` returns. If it raises, its writes alone are rolled back."""
    lane.execute("SAVEPOINT durable_database_job")
    try:
        return run(lane)
    except BaseException:
        if lane.in_transaction:
            lane.execute("ROLLBACK TO durable_database_job")
        raise
    finally:
        if lane.in_transaction:
            lane.execute("RELEASE durable_database_job")


# The transaction in whose `async with` this task, or the one that started it, runs.
inside: contextvars.ContextVar[Any] = contextvars.ContextVar("inside", default=None)


def refuse_child_task() -> None:
    """Fails at once, where a child would wait for its parent, and the parent for it, until the time is up."""
    transaction = inside.get()
    if transaction is not None and transaction.open and transaction.task is not asyncio.current_task():
        raise ChildTaskError


class UndoneError(Exception):
    """Raised to roll back a transaction that its task has rolled back."""


class OpenTransaction:
    """`async with database.transaction()`: a function that runs what its task sends to it.

    `take` has a function run in a lane, inside of a transaction; it is called for the first statement, with
    which BEGIN travels.
    """

    def __init__(self, backend: Any, take: Callable[[Run], Awaitable[Any]], *, limited: bool = False) -> None:
        self.task = asyncio.current_task()
        self.open = True
        self.limited = limited  # in time
        self._backend = backend
        self._take = take
        self._inbox: Any = backend.new_inbox()
        self._served: asyncio.Future[Any] | None = None
        self._lane: Any = None
        self._under_way = 0
        self._streams = contextlib.ExitStack()

    async def do(self, work: Work) -> Any:
        if isinstance(work, Statement):
            return await self._run(lambda lane: lane.run(work), only_reads=not work.writes)
        return await self._run(partial(run_in_savepoint, lambda lane: lane.run(work)))

    async def control(self, sql: str) -> None:
        """Runs a SAVEPOINT, ROLLBACK TO or RELEASE."""
        await self._run(lambda lane: lane.execute(sql))

    async def _run(self, run: Run, *, only_reads: bool = False) -> Any:
        if self._served is None:
            self._served = asyncio.ensure_future(self._take(partial(self._within, self._serve)))
            self._served.add_done_callback(self._fail_rest)
            self._backend.open_transactions.add(self)
        elif self._served.done():
            raise self._error() or rolled_back()
        future = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait((future, run))
        self._under_way += 1
        try:
            return await future
        except asyncio.CancelledError:
            # The end of the transaction would wait for a long SELECT. It must be that of this task.
            if self._under_way == 1 and (lane := self._lane) is not None:
                lane.interrupt(self._served, only_reads=only_reads)
            raise
        finally:
            self._under_way -= 1

    def _serve(self, lane: Any) -> Any:
        """Runs where the connection is, between BEGIN and its end."""
        self._lane = lane
        try:
            while True:
                future, run = lane.receive(self._inbox)
                if future is None and run:
                    return
                if future is None:
                    raise UndoneError
                if not future.cancelled():
                    lane.tell(settle, [outcome(future, self._within, run, lane)])
        finally:
            self._lane = None
            self._streams.close()

    def _within(self, run: Run, lane: Any) -> Any:
        return lane.within(run, lane) if self.limited else run(lane)

    def _fail_rest(self, served: asyncio.Future[Any]) -> None:
        error = self._error() or rolled_back()
        while not self._inbox.empty():
            future, _ = self._inbox.get_nowait()
            if future is not None and not future.done():
                future.set_exception(error)
        self._inbox.put_nowait((None, False))  # for its lane, should that have begun at the same instant

    async def stream(self, statement: Statement, *, is_all: bool = False) -> AsyncGenerator[Record, None]:
        """Streams without reading ahead: a later chunk must see what the transaction has written meanwhile.

        The transaction ends with the stream where that `is_all` that it is for.
        """
        fetch: Callable[[int], list[Record]] | None = None

        def more(lane: Any) -> list[Record]:
            nonlocal fetch
            if fetch is None:
                fetch = self._streams.enter_context(lane.stream(statement))
            return fetch(size)

        size, exhausted = FIRST_ROWS, False
        try:
            while not exhausted:
                records = await self._run(more, only_reads=not statement.writes)
                for record in records:
                    yield record
                exhausted = len(records) < size
                size = min(size * 2, MOST_ROWS)
        finally:
            if is_all:
                await self.end(committed=exhausted or statement.writes)

    async def end(self, *, committed: bool) -> None:
        self.open = False
        self._backend.open_transactions.discard(self)
        if self._served is None:  # it was sent nothing
            return
        self._inbox.put_nowait((None, committed))
        if not committed and self._lane is None:
            self._served.cancel()  # it has no lane yet, and needs none any more
        await asyncio.wait({self._served})
        if committed and (error := self._error()):
            raise error

    def _error(self) -> BaseException | None:
        """Returns the error with which the transaction was ended where its connection is, if any."""
        served = self._served
        if served is None or served.cancelled():
            return rolled_back()
        return served.exception()
