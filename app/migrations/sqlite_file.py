"""Opens a SQLite file to migrate, for one process at a time."""

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from app.migrations import MigrationError
from durable_database import sqlite_file
from durable_database.location import network_file_system
from durable_database.writer import closed_gate

LOCK_SECONDS = 60


@contextlib.contextmanager
def opened(url: str) -> Iterator[sa.Connection]:
    path = sqlite_file(url)
    if kind := network_file_system(path):
        raise MigrationError(
            f"the database {path} is on {kind}, a network file system; put it on a local disk"
        )
    try:
        path.parent.mkdir(exist_ok=True)  # var/, but no folders of a mistyped path
        with (
            _one_at_a_time(path.with_name(f"{path.name}.migrate.lock")),
            closed_gate(path),  # workers that serve meanwhile wait, and are not refused
            _engine(path).connect() as connection,
        ):
            yield connection
    except OSError as error:
        raise MigrationError(
            f"the database {path} cannot be created: {error.strerror} ({error.filename}); "
            "make the folder writable, or set SHOP_DATABASE_URL to another one"
        ) from None
    except (DatabaseError, sqlite3.DatabaseError) as error:
        reason = getattr(error, "orig", None) or error
        raise MigrationError(f"the database {path} cannot be migrated: {reason}") from None


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: the module's own BEGIN comes too late to cover DDL.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    if sys.platform == "win32":  # no fcntl; there one process serves, and migrates once
        yield
        return
    import fcntl

    deadline = time.monotonic() + LOCK_SECONDS
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MigrationError(f"another process has held {lock} for {LOCK_SECONDS} s") from None
                time.sleep(0.05)  # between two tries: a blocking flock has no time limit
        yield
