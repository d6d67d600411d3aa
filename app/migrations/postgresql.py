"""Opens a PostgreSQL database to migrate, for one process on one host at a time."""

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from app.migrations import MigrationError
from durable_database.errors import sqlstate
from durable_database.location import name_of

LOCK_SECONDS = 60
# A statement that waits for a table makes everyone wait behind it: better to fail, and to be run again.
TABLE_LOCK_SECONDS = 5
LOCK = 0x636F6163686D616E  # "coachman": advisory locks have numbers
LOCK_NOT_AVAILABLE = "55P03"


@contextlib.contextmanager
def opened(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            _lock(connection, url)
            yield connection
    except (DatabaseError, psycopg.Error) as error:
        reason = _first_line(getattr(error, "orig", None) or error)
        raise MigrationError(f"the database {name_of(url)} cannot be migrated: {reason}") from None


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, connect_timeout=10, application_name="coachman migrate")


def _lock(connection: sa.Connection, url: str) -> None:
    """Takes a lock that is held until the connection ends, be it by a kill."""
    try:
        with connection.begin():
            connection.exec_driver_sql(f"SET lock_timeout = {int(LOCK_SECONDS * 1000)}")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            connection.exec_driver_sql(f"SET lock_timeout = '{TABLE_LOCK_SECONDS}s'")
    except DatabaseError as error:
        if error.orig is None or sqlstate(error.orig) != LOCK_NOT_AVAILABLE:
            raise
        raise MigrationError(
            f"another process has been migrating {name_of(url)} for {LOCK_SECONDS} s"
        ) from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
