"""Many writes, one commit: the writer's work in its lane's thread."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from durable_database.gate import QUANTUM_SECONDS
from durable_database.lane import Lane, Outcome


class Job(NamedTuple):
    """A write: all of what it runs is stored, or nothing."""

    future: asyncio.Future[Any]
    run: Callable[[Lane], Any]
    undoes_itself: bool  # when it fails, SQLite undoes the whole of it


class GroupUndoneError(Exception):
    """The whole group was rolled back on account of one job, which is to be found by running each alone."""


def commit(lane: Lane, jobs: deque[Job], begin: Callable[[Job], bool]) -> list[Outcome]:
    """Runs jobs in one transaction, for as long as a process may keep others waiting.

    A job that fails is undone alone. `begin` says of each, just before, whether it is still wanted. What
    stays in `jobs` was not begun.
    """
    begun: list[Job] = []
    until = time.monotonic() + QUANTUM_SECONDS

    def next_job() -> Job | None:
        while jobs and (not begun or time.monotonic() < until):
            if begin(job := jobs.popleft()):
                begun.append(job)
                return job
        return None

    first = next_job()
    if first is None:
        return []
    try:
        if not jobs:
            return [(first.future, None, _commit_alone(lane, first))]
        return _commit_together(lane, first, next_job)
    except (GroupUndoneError, sqlite3.IntegrityError) as error:
        if len(begun) == 1:
            return [(first.future, error.__cause__ or error, None)]
        return [_outcome_alone(lane, job) for job in begun]
    # Anything else, as a disk that is full, would meet the next attempt too; and after an I/O error
    # in COMMIT nobody knows whether it was written: to repeat it might write it twice.
    except BaseException as error:  # noqa: BLE001 (it is raised where the callers wait)
        return [(job.future, error, None) for job in begun]


def _commit_together(lane: Lane, job: Job | None, next_job: Callable[[], Job | None]) -> list[Outcome]:
    outcomes = []
    lane.raw.execute("BEGIN IMMEDIATE")
    try:
        while job is not None:
            outcomes.append(_run_in_savepoint(lane, job))
            job = next_job()
        lane.raw.execute("COMMIT")
    finally:
        _leave_transaction(lane.raw)
    return outcomes


def _outcome_alone(lane: Lane, job: Job) -> Outcome:
    try:
        return job.future, None, _commit_alone(lane, job)
    except BaseException as error:  # noqa: BLE001 (it is raised where the caller waits)
        return job.future, error, None


def _commit_alone(lane: Lane, job: Job) -> Any:
    try:
        if job.undoes_itself:  # its own transaction
            return job.run(lane)
        lane.raw.execute("BEGIN IMMEDIATE")
        value = job.run(lane)
        lane.raw.execute("COMMIT")
        return value
    finally:
        _leave_transaction(lane.raw)


def _run_in_savepoint(lane: Lane, job: Job) -> Outcome:
    try:
        if job.undoes_itself:
            return job.future, None, job.run(lane)
        return job.future, None, run_in_savepoint(lane.raw, lambda: job.run(lane))
    except BaseException as error:
        if (
            not lane.raw.in_transaction
        ):  # ON CONFLICT ROLLBACK, or RAISE(ROLLBACK), undid the others' work too
            raise GroupUndoneError from error
        return job.future, error, None


def run_in_savepoint(raw: sqlite3.Connection, function: Callable[[], Any]) -> Any:
    """What `function` returns; when it raises, what it wrote is undone alone."""
    raw.execute("SAVEPOINT durable_database_job")
    try:
        return function()
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK TO durable_database_job")
        raise
    finally:
        if raw.in_transaction:
            raw.execute("RELEASE durable_database_job")


def _leave_transaction(raw: sqlite3.Connection) -> None:
    """COMMIT failed, or someone sent a BEGIN of his own, which would swallow the writes after it."""
    if raw.in_transaction:
        raw.execute("ROLLBACK")
