"""Writes: one lane, on which all that wait share commits, and transactions of tasks take turns with them."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from durable_database.errors import ChildTaskError, PoolTimeout
from durable_database.gate import Gate
from durable_database.group_commit import Job, commit
from durable_database.lane import Lane, Outcome, settle

BATCH = 64
SWEEP_SECONDS = 0.1


class OpenTransaction(Protocol):
    task: "asyncio.Task[Any] | None"
    open: bool


# The transaction in whose `async with` this task, or the one that started it, runs.
inside: contextvars.ContextVar[OpenTransaction | None] = contextvars.ContextVar("inside", default=None)


def refuse_child_task() -> None:
    """Fails at once, where a child would wait for its parent, and the parent for it, until the time is up."""
    transaction = inside.get()
    if transaction is not None and transaction.open and transaction.task is not asyncio.current_task():
        raise ChildTaskError


class Writer:
    def __init__(
        self,
        lane: Lane,
        gate: Gate,
        wal: Path,
        acquire_seconds: float,
        observe: Callable[[str, float], None],
    ) -> None:
        self.lane = lane
        self.gate = gate
        self._wal = wal
        self._loop = asyncio.get_running_loop()
        self._acquire_seconds = acquire_seconds
        self._observe = observe
        self._pending: deque[Job] = deque()
        self._leases: deque[asyncio.Future[None]] = deque()
        self._busy = False
        self._scheduled = False
        self._alone = True  # the last batch was of one: nobody would profit from waiting for company
        self._transactions_turn = False
        self._waits: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._sweep_timer: asyncio.TimerHandle | None = None
        # Held while jobs are marked as begun or given up: a job is one or the other.
        self._marking = threading.Lock()
        self._begun: set[asyncio.Future[Any]] = set()

    @property
    def idle(self) -> bool:
        return not (self._busy or self._pending or self.gate.held)

    def submit(self, run: Callable[[Lane], Any], *, undoes_itself: bool) -> asyncio.Future[Any]:
        """What `run` returns, once what it wrote is on the disk."""
        refuse_child_task()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._pending.append(Job(future, run, undoes_itself))
        self._wait_for_turn(future)
        return future

    async def lease(self) -> None:
        """Has the lane for oneself until `release`."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._leases.append(future)
        started = self._loop.time()
        self._wait_for_turn(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.release()
            raise
        finally:
            self._observe("pool_wait_seconds", self._loop.time() - started)

    def release(self) -> None:
        self._busy = False
        self._next()

    def wanted(self) -> bool:
        return bool(self._pending or self._leases)

    def _wait_for_turn(self, future: asyncio.Future[Any]) -> None:
        self._waits.append((self._loop.time() + self._acquire_seconds, future))
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        if self._busy or self._scheduled:
            return
        if self._alone:
            self._next()
        else:
            # What the other tasks of this turn of the loop write comes into the same commit.
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        while self._leases and self._leases[0].done():
            self._leases.popleft()
        if self._leases and (self._transactions_turn or not self._pending):
            self._transactions_turn = False
            self._busy = True
            self._leases.popleft().set_result(None)
        elif self._pending:
            self._transactions_turn = True
            self._send()
        elif self.gate.held:
            self.lane.post(self.gate.release)

    def _send(self) -> None:
        batch = deque(self._pending.popleft() for _ in range(min(BATCH, len(self._pending))))
        self._busy = True
        self._alone = len(batch) == 1
        self.lane.post(lambda: self.lane.tell(self._done, *self._commit(batch), batch))

    def _commit(self, batch: deque[Job]) -> tuple[list[Outcome], float]:
        """Runs in the lane's thread; takes out of the batch what it has begun."""
        waited = self.gate.acquire()
        try:
            return commit(self.lane, batch, self._begin), waited
        finally:
            self.gate.release(wanted=self.wanted())

    def _begin(self, job: Job) -> bool:
        with self._marking:
            if job.future.done():  # its caller has gone, or was told that its time is up
                return False
            self._begun.add(job.future)
            return True

    def _done(self, outcomes: list[Outcome], waited: float, left: deque[Job]) -> None:
        self._busy = False
        self._begun.clear()
        self._pending.extendleft(reversed(left))
        self._alone = self._alone and not self._pending
        self._next()
        settle(outcomes)
        self._observe("batch_size", len(outcomes))
        self._observe("gate_wait_seconds", waited)

    def _sweep(self) -> None:
        """Gives up what has waited for too long. A timer for each write would cost as much as the write."""
        self._sweep_timer = None
        now = self._loop.time()
        with self._marking:
            while self._waits and (self._waits[0][1].done() or self._waits[0][0] < now):
                future = self._waits.popleft()[1]
                if not future.done() and future not in self._begun:
                    error = PoolTimeout(f"the writer was not free for {self._acquire_seconds:g} s")
                    future.set_exception(error)
        self._observe("wal_bytes", self._wal.stat().st_size if self._wal.exists() else 0)
        if self._waits:
            self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
