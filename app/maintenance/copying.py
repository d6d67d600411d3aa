"""Copies a SQLite file into PostgreSQL: all rows or none, read back and compared before they count."""

import itertools
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from app.inventory.tables import metadata
from app.maintenance import MaintenanceError
from app.migrations import postgresql
from app.migrations.migrate import opened, upgrade
from durable_database import sqlite_file
from durable_database.location import is_postgresql, name_of

CHUNK_ROWS = 1000


def copy(source_url: str, target_url: str) -> dict[str, int]:
    """Copies, compares and returns the number of rows of each table."""
    if is_postgresql(source_url) or not is_postgresql(target_url):
        raise MaintenanceError(
            "copy-to goes from SQLite, in SHOP_DATABASE_URL, to its argument, postgresql://..."
        )
    if not sqlite_file(source_url).is_file():
        raise MaintenanceError(f"there is no database {name_of(source_url)}")
    upgrade(source_url)
    upgrade(target_url)
    try:
        # The source's transaction is a write: what is sold now must not be left behind unseen.
        with opened(source_url) as source, source.begin(), postgresql.connect(target_url) as target:
            return {table.name: _copy(table, source, target) for table in metadata.sorted_tables}
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise MaintenanceError(f"{name_of(target_url)}: {reason}; nothing is copied") from None


def _copy(table: sa.Table, source: sa.Connection, target: psycopg.Connection) -> int:
    name = sql.Identifier(table.name)
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    if target.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name)).fetchone():
        raise MaintenanceError(f"the table {table.name} there has rows already; copy into a new database")
    rows = sa.select(table).order_by(*table.primary_key.columns)
    with (
        target.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as into,
    ):
        for row in source.execute(rows).yield_per(CHUNK_ROWS):
            into.write_row(tuple(row))
    _continue_numbers(table, source, target)
    return _compare(table, source.execute(rows).yield_per(CHUNK_ROWS), target, columns)


def _continue_numbers(table: sa.Table, source: sa.Connection, target: psycopg.Connection) -> None:
    """Lets new ids follow the highest that was ever given: that of a deleted item is not given again."""
    statement = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    last = source.execute(statement, {"name": table.name}).scalar()
    if last:
        target.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table.name, last])


def _compare(
    table: sa.Table, copied: sa.CursorResult[Any], target: psycopg.Connection, columns: sql.Composed
) -> int:
    keys = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.primary_key.columns)
    statement = sql.SQL("SELECT {} FROM {} ORDER BY {}")
    count = 0
    with target.cursor(name="compare") as there:
        there.execute(statement.format(columns, sql.Identifier(table.name), keys))
        for here, arrived in itertools.zip_longest(copied, there):
            if here is None or tuple(here) != arrived:
                raise MaintenanceError(f"{table.name}: {here} arrived as {arrived}; nothing is copied")
            count += 1
    return count
