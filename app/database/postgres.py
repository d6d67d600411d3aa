"""PostgreSQL, over asyncpg: the backend of `databases`, with bounded waits and statements compiled once."""

import contextlib
from collections.abc import Iterator
from typing import Any

import asyncpg
from databases import DatabaseURL
from databases.backends.dialects.psycopg import dialect as StockDialect  # noqa: N812 (a class, named so there)
from databases.backends.postgres import PostgresBackend, PostgresConnection
from sqlalchemy.engine.interfaces import Dialect

from app.database.core import PoolTimeout
from app.database.failures import DatabaseUnavailable

CONNECT_SECONDS = 5
# Connections broken or refused; the server going down, starting, or of a kind that takes no writes.
UNAVAILABLE = ("08", "57P", "25006", "53300")


class PostgreSQLDialect(StockDialect):
    # Without these two SQLAlchemy compiles each Core statement anew.
    driver = "asyncpg"
    supports_statement_cache = True


class PostgreSQLBackend(PostgresBackend):
    def __init__(self, url: DatabaseURL | str, size: int = 5, acquire_seconds: float = 5.0) -> None:
        super().__init__(url)
        self._size = size
        self.acquire_seconds = acquire_seconds

    def _get_dialect(self) -> Dialect:
        dialect: Dialect = super()._get_dialect()
        dialect.__class__ = PostgreSQLDialect
        return dialect

    async def connect(self) -> None:
        with unavailable_in_words():
            # As libpq reads it, so that migrations and backups understand the same URL.
            self._pool = await asyncpg.create_pool(
                str(self._database_url),
                min_size=1,
                max_size=self._size,
                timeout=CONNECT_SECONDS,
                server_settings={"application_name": "coachman"},
            )

    def connection(self) -> "PostgreSQLConnection":
        return PostgreSQLConnection(self, self._dialect)


class PostgreSQLConnection(PostgresConnection):
    async def acquire(self) -> None:
        backend: Any = self._database
        assert backend._pool is not None, "DatabaseBackend is not running"
        with unavailable_in_words():
            try:
                self._connection = await backend._pool.acquire(timeout=backend.acquire_seconds)
            except TimeoutError:
                seconds = backend.acquire_seconds
                raise PoolTimeout(f"no database connection became free in {seconds:g} s") from None


@contextlib.contextmanager
def unavailable_in_words() -> Iterator[None]:
    """Turns what says that the server cannot serve just now into DatabaseUnavailable."""
    try:
        yield
    except PoolTimeout:
        raise
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(UNAVAILABLE):
            raise
        raise DatabaseUnavailable(str(error)) from error
    except (OSError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(str(error) or type(error).__name__) from error
