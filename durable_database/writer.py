"""The writer: one lane, and one commit for all writes that wait. A failed write is rolled back alone."""

import asyncio
import contextlib
import enum
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from durable_database.errors import PoolTimeout
from durable_database.lane import Lane
from durable_database.transaction import (
    Outcome,
    Run,
    outcome,
    run_in_savepoint,
    run_in_transaction,
    settle,
)

try:
    import fcntl
except ImportError:  # Windows, where one process serves
    fcntl = None  # type: ignore[assignment]

BATCH = 64
# How long a process that has more to commit keeps the gate: without it transactions ran at half the speed.
QUANTUM_SECONDS = 0.005
SWEEP_SECONDS = 0.1


class Kind(enum.Enum):
    STATEMENT = enum.auto()  # when it fails, SQLite undoes the whole of it
    FUNCTION = enum.auto()  # it needs a savepoint where it shares a commit
    TRANSACTION = enum.auto()  # it lasts as long as its task: nobody shares a commit with it


class Job:
    """A write: all of what it runs is stored, or nothing."""

    def __init__(self, run: Run, kind: Kind, until: float) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.run = run
        self.kind = kind
        self.until = until  # when it is given up, unless it was begun
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Claims the job, to begin it or to give it up. Returns whether nobody had claimed it before."""
        return not self.future.done() and self._claim.acquire(blocking=False)


class Gate:
    """A lock on a file beside the database, held from BEGIN to COMMIT. Used in the writer's thread only.

    It protects two things. Fairness: SQLite has waiting writers sleep and try again, so that of four
    processes one may get nothing for seconds; the kernel queues those who wait for a lock. And the
    file: SQLite before 3.51.3 may corrupt it when two connections commit and checkpoint at the same
    instant (https://sqlite.org/wal.html#walresetbug).

    The database's own files are never opened here: closing them would drop SQLite's locks on them.
    """

    def __init__(self, database: str) -> None:
        self._path = Path(f"{database}.gate")
        self._file = -1
        self._since = 0.0

    @property
    def held(self) -> bool:
        return bool(self._since)

    def open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o660)

    def close(self) -> None:
        self._since = 0.0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def acquire(self) -> float:
        """Takes the lock. Returns how long that took, in seconds."""
        if self._since:
            return 0.0
        started = time.monotonic()
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._since = time.monotonic()
        return self._since - started

    def release(self, *, wanted: bool = False) -> None:
        """Releases the lock, unless there is more to commit and the time slice is not over."""
        if not self._since or (wanted and time.monotonic() - self._since < QUANTUM_SECONDS):
            return
        self._since = 0.0
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)


@contextlib.contextmanager
def closed_gate(database: Path) -> Iterator[None]:
    """For commands that write: their commits and checkpoints keep to the order too."""
    with contextlib.closing(Gate(str(database))) as gate:
        gate.open()
        gate.acquire()
        yield


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
        self._transactions: deque[Job] = deque()
        self._transactions_turn = False
        self._waits: deque[Job] = deque()
        self.busy = False
        self._alone = True  # the last commit was of one write: another would wait for company in vain
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return not (self.busy or self._wanted() or self.gate.held)

    def submit(self, run: Run, kind: Kind) -> asyncio.Future[Any]:
        """Returns what `run` returns, once its writes are on the disk."""
        job = Job(run, kind, self._loop.time() + self._acquire_seconds)
        (self._transactions if kind is Kind.TRANSACTION else self._pending).append(job)
        self._waits.append(job)
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        if not self.busy:
            self.busy = True
            self._send_soon()
        return job.future

    def _send_soon(self) -> None:
        if self._alone:
            self._send()
        else:  # what the other tasks of this turn of the loop write comes into the same commit
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        batch: deque[Job] = deque()
        # Transactions take turns with all else: one after the other they would part what shares a commit.
        if self._transactions and (self._transactions_turn or not self._pending):
            batch.append(self._transactions.popleft())
        else:
            batch.extend(self._pending.popleft() for _ in range(min(BATCH, len(self._pending))))
        self._transactions_turn = not self._transactions_turn
        self.busy = bool(batch)
        if batch:
            self._alone = len(batch) == 1 and not self._wanted()
            self.lane.post(lambda: self._commit(batch))
        elif self.gate.held:
            self.lane.post(self.gate.release)

    def _wanted(self) -> bool:
        return bool(self._pending or self._transactions)

    def _done(self, outcomes: list[Outcome], waited: float, left: deque[Job]) -> None:
        self._pending.extendleft(reversed(left))
        settle(outcomes)
        self._send_soon()
        self._observe("batch_size", len(outcomes))
        self._observe("gate_wait_seconds", waited)

    def _sweep(self) -> None:
        """Gives up writes that have waited too long. A timer for each would cost as much as the write."""
        self._sweep_timer = None
        now = self._loop.time()
        while self._waits and (self._waits[0].future.done() or self._waits[0].until < now):
            job = self._waits.popleft()
            if job.claim():
                job.future.set_exception(
                    PoolTimeout(f"the writer was not free for {self._acquire_seconds:g} s")
                )
        self._observe("wal_bytes", self._wal.stat().st_size if self._wal.exists() else 0)
        if self._waits:
            self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    # What follows runs in the lane's thread.

    def _commit(self, jobs: deque[Job]) -> None:
        outcomes, waited = [], 0.0
        try:
            waited = self.gate.acquire()
            outcomes = commit(self.lane, jobs)
        except OSError as error:  # the gate's file system gives no lock
            outcomes = [(job.future, error, None) for job in jobs if job.claim()]
            jobs.clear()
        finally:
            self.gate.release(wanted=self._wanted() or bool(jobs))
            self.lane.tell(self._done, outcomes, waited, jobs)


class GroupUndoneError(Exception):
    """One job made SQLite roll back the whole transaction, and with it other jobs' writes."""


def commit(lane: Lane, jobs: deque[Job]) -> list[Outcome]:
    """Runs jobs in one transaction, for as long as a process may keep others waiting.

    A job that fails is undone alone. What stays in `jobs` was not begun.
    """
    begun: list[Job] = []
    outcomes: list[Outcome] = []
    until = time.monotonic() + QUANTUM_SECONDS
    try:
        while jobs and (not begun or time.monotonic() < until):
            job = jobs.popleft()
            if not job.claim():  # its caller has gone, or was told that its time is up
                continue
            begun.append(job)
            if len(begun) == 1:
                if not jobs:
                    return [outcome(job.future, _run_alone, lane, job)]
                lane.raw.execute("BEGIN IMMEDIATE")
            outcomes.append(_run_together(lane, job))
        if begun:
            lane.raw.execute("COMMIT")
        return outcomes
    except (GroupUndoneError, sqlite3.IntegrityError):  # a deferred constraint refused the COMMIT
        lane.leave_transaction()
        return [outcome(job.future, _run_alone, lane, job) for job in begun]
    # Anything else, as a disk that is full, would meet the next attempt too; and after an I/O error
    # in COMMIT nobody knows whether it was written: to repeat it might write it twice.
    except BaseException as error:  # noqa: BLE001 (it is raised where the callers wait)
        return [(job.future, error, None) for job in begun]
    finally:
        lane.leave_transaction()


def _run_together(lane: Lane, job: Job) -> Outcome:
    run = job.run if job.kind is Kind.STATEMENT else partial(run_in_savepoint, job.run)
    found = outcome(job.future, run, lane)
    if not lane.raw.in_transaction:  # ON CONFLICT ROLLBACK, or RAISE(ROLLBACK), undid the others' work too
        raise GroupUndoneError
    return found


def _run_alone(lane: Lane, job: Job) -> Any:
    if job.kind is Kind.STATEMENT:  # its own transaction
        return job.run(lane)
    return run_in_transaction("BEGIN IMMEDIATE", job.run, lane)
