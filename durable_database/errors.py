"""What the data layer raises itself, and what the drivers' exceptions mean.

SQLite's and PostgreSQL's own errors pass through as they are; out of a function that ran on SQLAlchemy's
connection they come as SQLAlchemy's, with the driver's inside. SQLite's have codes; PostgreSQL's an SQLSTATE.
"""

import functools
import re
import sqlite3

from sqlalchemy.exc import DBAPIError

# The word that a statement begins with, behind space and comments, where it would end the transaction.
CONTROL = re.compile(r"(?:\s|;|--[^\n]*\n|/\*.*?\*/)*(BEGIN|COMMIT|END|ROLLBACK(?!\s+TO\b))\b", re.I | re.S)
# lock_not_available, deadlock_detected, serialization_failure
LOCKED = ("55P03", "40P01", "40001")


class PoolTimeout(TimeoutError):  # noqa: N818 (the standard library's own name ends so)
    """The writer, or every pooled connection, stayed in use for longer than one may wait."""


class TransactionTimeout(TimeoutError):  # noqa: N818
    """A transaction stayed open for so long that it was rolled back: others wait for it."""


class DatabaseUnavailable(ConnectionError):  # noqa: N818 (named as `PoolTimeout` is)
    """PostgreSQL cannot be reached, or accepts no queries at the moment."""


class ForkedError(RuntimeError):
    def __init__(self) -> None:
        super().__init__("the database was connected before a fork; connect in each process, after it")


class ChildTaskError(RuntimeError):
    def __init__(self) -> None:
        super().__init__(
            "a task wrote while its parent's transaction is open, which it is no part of and would wait for; "
            "write in the parent, or after the transaction"
        )


class TransactionControlError(RuntimeError):
    """A write tried to end its transaction, which it shares with other writes."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not to be called here, where writes share a commit: a function's transaction is "
            "committed when it returns and undone when it raises, and a part of it that may fail alone is a "
            "`with connection.begin_nested()`; else there is `async with database.transaction()`"
        )


@functools.lru_cache(1000)
def refuse_control(sql: str) -> None:
    if found := CONTROL.match(sql):
        raise TransactionControlError(found[1].upper())


def rolled_back() -> sqlite3.OperationalError:
    """A statement after this would be committed at once, on its own."""
    return sqlite3.OperationalError("the transaction was rolled back by an earlier error in it")


def driver_error(error: BaseException) -> BaseException:
    """Returns the driver's own exception, where `error` is SQLAlchemy's wrapper of it."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    # asyncpg's stands behind that of SQLAlchemy's adapter.
    adapted = type(error).__module__.startswith("sqlalchemy.")
    return error.__cause__ if adapted and error.__cause__ is not None else error


def sqlstate(error: BaseException) -> str:
    """Returns the SQLSTATE, whose first two characters are its class; empty for other exceptions."""
    return getattr(driver_error(error), "sqlstate", None) or ""


def sqlite_code(error: BaseException) -> int:
    # The low byte: extended codes such as SQLITE_BUSY_SNAPSHOT carry more above it.
    return getattr(driver_error(error), "sqlite_errorcode", 0) & 0xFF


def from_database(error: BaseException) -> bool:
    return isinstance(driver_error(error), sqlite3.Error | DatabaseUnavailable) or bool(sqlstate(error))


def is_locked(error: BaseException) -> bool:
    """Whether the database, or a row, stayed locked by somebody else for too long."""
    return sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or sqlstate(error) in LOCKED


def is_damage(error: BaseException) -> bool:
    return sqlite_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_about_the_disk(error: BaseException) -> bool:
    """Whether the error is about the file or its disk: full, failing, read-only, removed."""
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return sqlite_code(error) in codes


def breaks_a_constraint(error: BaseException) -> bool:
    return isinstance(driver_error(error), sqlite3.IntegrityError) or sqlstate(error).startswith("23")


def breaks_unique(error: BaseException, table: str, column: str) -> bool:
    """Whether a row violates a unique constraint."""
    error = driver_error(error)
    if isinstance(error, sqlite3.IntegrityError):
        return f"{table}.{column}" in str(error)
    # The name that `metadata.naming_convention` gives it.
    return getattr(error, "constraint_name", None) == f"uq_{table}_{column}"


def lacks_a_table(error: BaseException) -> bool:
    # SQLite has no code of its own for it.
    code = getattr(driver_error(error), "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_ERROR or sqlstate(error) == "42P01"
