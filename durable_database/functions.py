"""Functions that run on SQLAlchemy's connection, inside a transaction that is not theirs to end."""

import inspect
import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.pool import StaticPool

from durable_database.errors import TransactionControlError, TransactionTimeout, rolled_back

# The word that a statement begins with, behind space and comments, where it would end the transaction.
CONTROL = re.compile(r"(?:\s|;|--[^\n]*\n|/\*.*?\*/)*(BEGIN|COMMIT|END|ROLLBACK(?!\s+TO\b))\b", re.I | re.S)

CHECKED_STATEMENTS = 1000


def refuse_control(sql: str) -> None:
    if found := CONTROL.match(sql):
        raise TransactionControlError(found[1].upper())


def checked(value: Any) -> Any:
    """What a function returned, unless it is of use only where the function ran."""
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("the function returned a coroutine; what runs where the connection is awaits nothing")
    if isinstance(value, sa.Result):
        raise TypeError("the function returned a Result, which ends with its transaction; return its rows")
    return value


class HeldDialect(SQLiteDialect_pysqlite):
    """SQLite on a connection that is lent: what ends a transaction, or the connection, is its holder's."""

    supports_statement_cache = True
    holder: "Functions"

    def do_commit(self, dbapi_connection: Any) -> None:
        self.holder.refuse("commit()")

    def do_rollback(self, dbapi_connection: Any) -> None:
        self.holder.refuse("rollback()")

    def do_close(self, dbapi_connection: Any) -> None: ...

    def do_terminate(self, dbapi_connection: Any) -> None: ...

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        self.holder.check(statement, cursor)
        cursor.execute(statement, parameters)

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        self.holder.check(statement, cursor)
        cursor.executemany(statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:
        self.holder.check(statement, cursor)
        cursor.execute(statement)


registry.register("sqlite.held", __name__, HeldDialect.__name__)


class Functions:
    """Runs functions on one SQLite connection, in its thread, where a transaction is open."""

    def __init__(self, raw: sqlite3.Connection, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds
        self._until = 0.0
        self._running = False
        self._checked: set[str] = set()
        self._cursors: list[sqlite3.Cursor] = []
        self._engine = sa.create_engine(
            "sqlite+held://", creator=lambda: raw, poolclass=StaticPool, pool_reset_on_return=None
        )
        dialect = self._engine.dialect
        assert isinstance(dialect, HeldDialect)
        dialect.holder = self

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        # A new one each time: what a function does to it, as closing it, is over with the function.
        with self._engine.connect() as connection:
            self._until = time.monotonic() + self._seconds
            self._running = True
            try:
                value = checked(function(connection, *arguments))
            finally:
                self._running = False
                # What was not read to its end would pin the snapshot; a traceback may still hold it.
                while self._cursors:
                    self._cursors.pop().close()
        if not self._raw.in_transaction:  # an error in it was caught, but not what came of it
            raise rolled_back()
        return value

    def refuse(self, what: str) -> None:
        if self._running:  # else it is SQLAlchemy's own, when it closes the connection
            raise TransactionControlError(f"connection.{what}")

    def check(self, statement: str, cursor: sqlite3.Cursor) -> None:
        """Raises where this statement may not be run, now or ever."""
        if not self._raw.in_transaction:
            raise rolled_back()
        if statement not in self._checked:
            refuse_control(statement)
            if len(self._checked) >= CHECKED_STATEMENTS:
                self._checked.clear()
            self._checked.add(statement)
        if time.monotonic() > self._until:
            raise TransactionTimeout(f"a transaction was open for {self._seconds:g} s and is rolled back")
        self._cursors.append(cursor)
