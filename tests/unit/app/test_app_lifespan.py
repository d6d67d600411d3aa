"""Start-up and shutdown of the application."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from app.lifespan import NotReadyError
from app.main import create_app
from app.settings import Settings
from durable_database import Database

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive(), thread


def start(url: str) -> None:
    with TestClient(create_app(Settings(database_url=url))):
        pass


def test_database_that_was_never_migrated_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").close()

    with pytest.raises(
        NotReadyError, match="at revision None, this release needs 0001; run: python -m app migrate"
    ):
        start(f"sqlite:///{tmp_path}/x.db")


def test_database_of_another_release_is_refused(database_url: str) -> None:
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")

    with pytest.raises(NotReadyError, match="at revision 0999, this release needs 0001"):
        start(database_url)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all, but long enough to be looked at" * 20)

    with pytest.raises(NotReadyError, match="file is not a database"):
        start(f"sqlite:///{tmp_path}/x.db")


def test_failed_connection_has_ended_its_thread_when_it_says_so(tmp_path: Path) -> None:
    # Later the thread would report its end to an event loop that may be closed.
    (tmp_path / "x.db").mkdir()

    async def threads_after_a_failure() -> list[threading.Thread]:
        with pytest.raises(sqlite3.OperationalError):
            await Database(f"sqlite:///{tmp_path}/x.db").connect()
        return [thread for thread in threading.enumerate() if "connection" in thread.name]

    assert not any(asyncio.run(threads_after_a_failure()) for _ in range(100))


def test_locked_database_is_not_called_unmigrated(database_url: str) -> None:
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotReadyError, match="database is locked"):
            start(database_url)


def test_missing_database_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"x\.db cannot be opened: .*; run: python -m app migrate"):
        start(f"sqlite:///{tmp_path}/x.db")

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_opened_before_the_start(settings: Settings) -> None:
    before = threading.active_count()

    create_app(settings)

    assert threading.active_count() == before


def test_thread_pool_has_the_size_of_the_setting(database_url: str) -> None:
    app = create_app(Settings(database_url=database_url, threads=3))

    @app.get("/threads")
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    with TestClient(app) as client:
        assert client.get("/threads").json() == 3


@pytest.mark.parametrize("inline", [True, False])
def test_setting_says_whether_short_reads_run_on_the_event_loop(database_url: str, inline: bool) -> None:
    app = create_app(Settings(database_url=database_url, inline_reads=inline))

    @app.get("/inline")
    async def is_inline(request: Request) -> bool:
        return request.state.database._backend._inline is not None

    with TestClient(app) as client:
        assert client.get("/inline").json() is inline
        assert client.get("/items").status_code == 200


def test_heap_is_frozen_while_serving(settings: Settings) -> None:
    with TestClient(create_app(settings)):
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0


def test_database_is_closed_at_the_end(settings: Settings) -> None:
    app = create_app(settings)
    databases: list[Database] = []

    @app.get("/database")
    async def remember(request: Request) -> None:
        databases.append(request.state.database)

    with TestClient(app) as client:
        client.get("/database")
        assert databases[0].is_connected
    assert not databases[0].is_connected
