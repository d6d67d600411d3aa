"""The `databases` package with what it lacks: a pool for SQLite, and writes that survive a cancellation."""

from app.database import sqlite as _sqlite  # noqa: F401 (`databases` would import it in each worker)
from app.database.core import Database, PoolTimeout, sqlite_file, uninterrupted

__all__ = ["Database", "PoolTimeout", "sqlite_file", "uninterrupted"]
