"""Brings a database to this release's schema, once, however many processes start together."""

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.exc import DatabaseError

from app.database import sqlite_file

LOCK_SECONDS = 60


class MigrationError(Exception):
    """One sentence for the operator."""


def upgrade(database_url: str) -> str | None:
    """Brings the database to the newest revision and returns the one it was at: None when it was new."""
    path = sqlite_file(database_url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path.with_name(f"{path.name}.migrate.lock")):
            return _upgrade(path)
    except OSError as error:
        raise MigrationError(
            f"the database {path} cannot be created: {error.strerror} ({error.filename}); "
            "make the folder writable, or set COACHMAN_DATABASE_URL to another one"
        ) from None
    except (DatabaseError, sqlite3.DatabaseError) as error:
        reason = getattr(error, "orig", None) or error
        raise MigrationError(f"the database {path} cannot be migrated: {reason}") from None


def _upgrade(path: Path) -> str | None:
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.connect() as connection:
        with connection.begin():
            before = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(alembic_config(connection), "head")
        return before


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: the module's own BEGIN comes too late to cover DDL.
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def alembic_config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextlib.contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    if sys.platform == "win32":  # no fcntl; there one process serves, and it was told to migrate once
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
