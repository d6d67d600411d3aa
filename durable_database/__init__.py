"""The `databases` package, faster, and with writes that survive a cancellation: see docs/database.md."""

from durable_database.database import Database
from durable_database.errors import DatabaseUnavailable, PoolTimeout, TransactionTimeout
from durable_database.location import sqlite_file
from durable_database.transaction import uninterrupted

__all__ = [
    "Database",
    "DatabaseUnavailable",
    "PoolTimeout",
    "TransactionTimeout",
    "sqlite_file",
    "uninterrupted",
]
