"""What the drivers' exceptions mean. SQLite's have codes; PostgreSQL's an SQLSTATE, whatever the driver."""

import sqlite3

# lock_not_available, deadlock_detected, serialization_failure
LOCKED = ("55P03", "40P01", "40001")


class DatabaseUnavailable(ConnectionError):  # noqa: N818 (named as `PoolTimeout` is)
    """PostgreSQL cannot be reached, or serves nobody just now."""


def sqlstate(error: BaseException) -> str:
    """Of the five characters, the first two are the class; empty for other exceptions."""
    return getattr(error, "sqlstate", None) or ""


def from_database(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error | DatabaseUnavailable) or bool(sqlstate(error))


def is_locked(error: BaseException) -> bool:
    """Whether another one has kept the database, or a row, for too long."""
    # The low byte: extended codes such as SQLITE_BUSY_SNAPSHOT carry more above it.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or sqlstate(error) in LOCKED


def is_damage(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_about_the_disk(error: sqlite3.Error) -> bool:
    """Whether the file or its disk is in the way: full, failing, read-only, gone."""
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def breaks_a_constraint(error: BaseException) -> bool:
    return isinstance(error, sqlite3.IntegrityError) or sqlstate(error).startswith("23")


def breaks_unique(error: BaseException, table: str, column: str) -> bool:
    """Whether a row was refused since another one has this value."""
    if isinstance(error, sqlite3.IntegrityError):
        return f"{table}.{column}" in str(error)
    # The name that `metadata.naming_convention` gives it.
    return getattr(error, "constraint_name", None) == f"uq_{table}_{column}"


def lacks_a_table(error: BaseException) -> bool:
    # SQLite has no code of its own for it.
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR or sqlstate(error) == "42P01"
