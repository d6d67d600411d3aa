"""Compiles and runs one statement on a PostgreSQL connection."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from databases.backends.dialects.psycopg import dialect as StockDialect  # noqa: N812 (a class, named so there)
from databases.backends.postgres import PostgresBackend

from durable_database.compiler import Arguments, Compiler, Plan
from durable_database.interfaces import Want
from durable_database.records import Shape


class PostgreSQLDialect(StockDialect):
    # Without these two SQLAlchemy compiles each Core statement anew.
    driver = "asyncpg"
    supports_statement_cache = True


def postgresql_dialect() -> Any:
    dialect: Any = PostgresBackend._get_dialect(None)  # type: ignore[arg-type]  # it uses no `self`
    dialect.__class__ = PostgreSQLDialect
    return dialect


DIALECT = postgresql_dialect()


class Numbers(dict[str, str]):
    """Gives each name that is asked for the next of $1, $2, ..."""

    def __missing__(self, name: str) -> str:
        number = self[name] = f"${len(self) + 1}"
        return number


class PostgreSQLPlan(Plan):
    __slots__ = ("names", "returns")

    def __init__(self, sql: str, compiled: Any) -> None:
        numbers = Numbers()
        super().__init__(
            sql if compiled is None else sql % numbers,
            tuple(getattr(compiled, "_result_columns", None) or ()),
        )
        self.names = tuple(numbers)
        self.returns = not self.writes or bool(self.entries) or "returning" in sql.lower()


class PostgreSQLCompiler(Compiler):
    def _new_plan(self, sql: str, compiled: Any) -> PostgreSQLPlan:
        return PostgreSQLPlan(sql, compiled)

    def _arrange(self, plan: PostgreSQLPlan, parameters: Mapping[str, Any]) -> Arguments:
        return tuple([parameters[name] for name in plan.names])


async def run(connection: Any, plan: PostgreSQLPlan, arguments: Arguments, want: Want) -> Any:
    if want is Want.ONE:
        row = await connection.fetchrow(plan.sql, *arguments)
        return None if row is None else records(plan, (row,))[0]
    if want is Want.ALL:
        return records(plan, await connection.fetch(plan.sql, *arguments))
    if plan.returns:
        return await connection.fetchval(plan.sql, *arguments)
    status = await connection.execute(plan.sql, *arguments)
    if plan.inserts:  # what the new row's id is, only RETURNING tells
        return None
    count = status.rpartition(" ")[2]
    return int(count) if count.isdecimal() else None


def records(plan: PostgreSQLPlan, rows: Sequence[asyncpg.Record]) -> list[Any]:
    if not rows:
        return []
    names = tuple(rows[0].keys())
    # Compared each time: a migration may change the columns of `SELECT *` under way.
    if names != plan.columns:
        entries = plan.entries if len(plan.entries) == len(names) else ()
        processors = (
            (i, entry[3].dialect_impl(DIALECT).result_processor(DIALECT, None))
            for i, entry in enumerate(entries)
        )
        plan.shape = Shape(names, entries, [(i, process) for i, process in processors if process])
        plan.columns = names
    found: list[Any] = plan.shape.records(map(tuple, rows))
    return found
