"""The database under test, asked past the application."""

import contextlib
import sqlite3
from typing import Any

import psycopg

from durable_database import sqlite_file
from durable_database.location import is_postgresql


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows of `sql`, which may also be a write."""
    if is_postgresql(url):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []
    with contextlib.closing(sqlite3.connect(sqlite_file(url))) as file, file:
        return file.execute(sql).fetchall()
