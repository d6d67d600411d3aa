"""The `databases` package, faster, and with writes that survive a cancellation."""

from app.database import sqlite as _sqlite  # noqa: F401 (`databases` would import it in each worker)
from app.database.completion import uninterrupted
from app.database.core import Database
from app.database.errors import PoolTimeout, TransactionTimeout
from app.database.url import sqlite_file

__all__ = ["Database", "PoolTimeout", "TransactionTimeout", "sqlite_file", "uninterrupted"]
