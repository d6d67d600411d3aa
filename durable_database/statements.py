"""Runs one statement on a SQLite connection: execute, fetch and reset without coming back in between."""

import enum
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql import ClauseElement

from durable_database.compiler import Arguments, Plan
from durable_database.records import Shape

Query = ClauseElement | str
Values = Mapping[str, Any] | None


class Want(enum.Enum):
    """What a statement is run for."""

    ONE = enum.auto()
    ALL = enum.auto()
    RESULT = enum.auto()  # the new row's id, or the number of rows changed
    MANY = enum.auto()  # nothing: one statement, a list of arguments


class Statement(NamedTuple):
    plan: Plan
    arguments: Arguments
    want: Want


def sqlite_dialect() -> Dialect:
    dialect = pysqlite.dialect(paramstyle="named")
    dialect.supports_native_decimal = False
    return dialect


DIALECT = sqlite_dialect()


def run(raw: sqlite3.Connection, plan: Plan, arguments: Arguments, want: Want) -> Any:
    if want is Want.MANY:
        raw.executemany(plan.sql, arguments)
        return None
    cursor = raw.execute(plan.sql, arguments)
    # Closed before this ends, always: an open cursor pins the snapshot of its whole connection.
    try:
        if want is Want.ONE:
            return _first(cursor, plan)
        if want is Want.ALL:
            rows = cursor.fetchall()
            return shape_of(plan, cursor).records(rows) if rows else []
        if cursor.description is not None:
            cursor.fetchall()
        # `lastrowid` outlives its statement: after an UPDATE it is still that of an earlier INSERT.
        return cursor.lastrowid if plan.inserts and cursor.rowcount else cursor.rowcount
    finally:
        cursor.close()


def _first(cursor: sqlite3.Cursor, plan: Plan) -> Any:
    row = cursor.fetchone()
    if plan.writes and row is not None:
        cursor.fetchall()  # INSERT ... RETURNING ends, and can fail, only after its last row
    return None if row is None else shape_of(plan, cursor).record(row)


def shape_of(plan: Plan, cursor: sqlite3.Cursor) -> Shape:
    if cursor.description != plan.columns:
        # In this order: another thread may be between the comparison above and the last line.
        plan.shape = Shape.of(plan.entries, [column[0] for column in cursor.description], DIALECT)
        plan.columns = cursor.description
    shape: Shape = plan.shape
    return shape
