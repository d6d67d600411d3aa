"""Backup and restore of a SQLite file, by SQLite itself: a `cp` would miss what is still in the WAL."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from app.maintenance import MaintenanceError
from app.migrations.revision import is_newer
from durable_database import sqlite_file
from durable_database.writer import closed_gate


def backup(url: str, file: Path) -> None:
    source = sqlite_file(url)
    if not source.is_file():
        raise MaintenanceError(f"there is no database {source}; set SHOP_DATABASE_URL to the one to copy")
    # Under its name only when it is whole, and on the disk.
    partial = file.with_name(f"{file.name}.partial")
    try:
        with _errors_of(source), _opened(source) as live, _opened(partial, new=True) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a WAL beside it
            _require_integrity(copy, source)
        _sync(partial)
        partial.rename(file)
        _sync(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def restore(url: str, file: Path) -> Path | None:
    """Restores, and returns the copy of what the database held before; None where there was no database."""
    target = sqlite_file(url)
    with _errors_of(file), _opened(file) as copy:
        _require_integrity(copy, file)
        _require_shop(copy, file)
        kept = _keep(url, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _errors_of(target), closed_gate(target), _opened(target, new=kept is None) as live:
            # One transaction: who reads meanwhile sees all of the old state or all of the new.
            copy.backup(live)
            live.execute("PRAGMA journal_mode=WAL")
    return kept


def _keep(url: str, target: Path) -> Path | None:
    if not target.is_file():
        return None
    kept = target.with_name(f"{target.name}.before-restore-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        backup(url, kept)
    except MaintenanceError as error:
        raise MaintenanceError(
            f"{error}; what it holds cannot be kept: stop the service, move {target} and its -wal away, "
            "and restore again"
        ) from None
    return kept


@contextlib.contextmanager
def _opened(path: Path, *, new: bool = False) -> Iterator[sqlite3.Connection]:
    if not new and not path.is_file():
        raise MaintenanceError(f"there is no file {path}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        yield connection


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise MaintenanceError(f"{path}: {error}") from None


def _require_integrity(connection: sqlite3.Connection, path: Path) -> None:
    [(verdict,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if verdict != "ok":
        raise MaintenanceError(f"{path} is damaged ({verdict.splitlines()[-1]}); take an earlier backup")


def _require_shop(connection: sqlite3.Connection, path: Path) -> None:
    try:
        [(revision,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (sqlite3.OperationalError, ValueError):
        raise MaintenanceError(
            f"{path} is no backup of this application; the database stays as it is"
        ) from None
    if is_newer(revision):
        raise MaintenanceError(
            f"{path} is of revision {revision}, newer than this release; restore it with its own"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
