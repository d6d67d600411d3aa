"""The `databases` package, faster, and with writes that survive a cancellation."""

from durable_database import sqlite as _sqlite  # noqa: F401 (`databases` would import it in each worker)
from durable_database.completion import uninterrupted
from durable_database.core import Database
from durable_database.errors import PoolTimeout, TransactionTimeout
from durable_database.url import sqlite_file

__all__ = ["Database", "PoolTimeout", "TransactionTimeout", "sqlite_file", "uninterrupted"]
