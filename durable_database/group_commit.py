"""Many writes, one commit: the writer's work in its lane's thread."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_database import statements
from durable_database.compiler import Arguments, Plan
from durable_database.interfaces import Want
from durable_database.lane import Outcome


class Statement(NamedTuple):
    plan: Plan
    arguments: Arguments
    want: Want


class Job(NamedTuple):
    """Statements that are written all or not at all."""

    future: asyncio.Future[Any]
    statements: Sequence[Statement]
    single: bool  # its caller wants the result of the one statement, not a list

    def run(self, raw: sqlite3.Connection) -> Any:
        results = [statements.run(raw, *statement) for statement in self.statements]
        return results[0] if self.single else results

    @property
    def atomic(self) -> bool:
        """Whether SQLite itself undoes the whole of it when it fails."""
        return len(self.statements) == 1 and self.statements[0].want is not Want.MANY


class GroupUndoneError(Exception):
    """The whole group was rolled back on account of one job, which is to be found by running each alone."""


def commit(raw: sqlite3.Connection, jobs: Sequence[Job]) -> list[Outcome]:
    """Runs all jobs in one transaction; a job that fails is undone alone."""
    if not jobs:
        return []
    try:
        return _commit_together(raw, jobs)
    except (GroupUndoneError, sqlite3.IntegrityError) as error:
        if len(jobs) == 1:
            return [(jobs[0].future, error.__cause__ or error, None)]
        return [outcome for job in jobs for outcome in commit(raw, [job])]
    # Anything else, as a disk that is full, would meet the next attempt too; and after an I/O error
    # in COMMIT nobody knows whether it was written: to repeat it might write it twice.
    except Exception as error:  # noqa: BLE001 (it is raised where the callers wait)
        return [(job.future, error, None) for job in jobs]


def _commit_together(raw: sqlite3.Connection, jobs: Sequence[Job]) -> list[Outcome]:
    if len(jobs) == 1:
        return [(jobs[0].future, None, _commit_alone(raw, jobs[0]))]
    raw.execute("BEGIN IMMEDIATE")
    try:
        outcomes = [_run_in_savepoint(raw, job) for job in jobs]
        raw.execute("COMMIT")
    finally:
        _leave_transaction(raw)
    return outcomes


def _commit_alone(raw: sqlite3.Connection, job: Job) -> Any:
    try:
        if job.atomic:  # its own transaction
            return job.run(raw)
        raw.execute("BEGIN IMMEDIATE")
        value = job.run(raw)
        raw.execute("COMMIT")
        return value
    finally:
        _leave_transaction(raw)


def _run_in_savepoint(raw: sqlite3.Connection, job: Job) -> Outcome:
    if not job.atomic:
        raw.execute("SAVEPOINT job")
    try:
        value = job.run(raw)
        if not job.atomic:
            raw.execute("RELEASE job")
    except Exception as error:
        if not raw.in_transaction:  # ON CONFLICT ROLLBACK, or RAISE(ROLLBACK), undid the others' work too
            raise GroupUndoneError from error
        if not job.atomic:
            raw.execute("ROLLBACK TO job")
            raw.execute("RELEASE job")
        return job.future, error, None
    return job.future, None, value


def _leave_transaction(raw: sqlite3.Connection) -> None:
    """COMMIT failed, or someone sent a BEGIN of his own, which would swallow the writes after it."""
    if raw.in_transaction:
        raw.execute("ROLLBACK")
