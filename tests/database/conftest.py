"""A database with one small table, for each test."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from durable_database import Database

SCHEMA = """
CREATE TABLE entries (id INTEGER PRIMARY KEY, name VARCHAR(50) UNIQUE, n INTEGER NOT NULL DEFAULT 0);
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (id INTEGER PRIMARY KEY,
                       parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting to PostgreSQL may take long on a machine that is busy with others."""
    monkeypatch.setattr("durable_database.postgresql.CONNECT_SECONDS", 60)


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "entries.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return f"sqlite:///{path}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    # Its limits are not what these tests are about: a machine that is busy with others must not reach them.
    async with Database(url, acquire_seconds=60, transaction_seconds=120) as database:
        yield database


@pytest.fixture
def file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def on_disk(file: Path) -> Callable[[str], list[tuple[object, ...]]]:
    """What another process sees: read by a connection of the test's own."""

    def read(sql: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return connection.execute(sql).fetchall()

    return read
