"""Migrated databases, and clients of the application on them."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from app.__main__ import cli
from app.main import create_app
from app.migrations.migrate import upgrade
from app.settings import Settings
from durable_database import sqlite_file
from durable_database.location import is_postgresql
from tests.support.ports import free_port
from tests.support.postgresql import Server

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Connecting to PostgreSQL may take long on a machine that is busy with others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("durable_database.postgresql.CONNECT_SECONDS", 60)
        yield


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: Server) -> str:
    url = postgresql_server.new_database()
    upgrade(url)
    return url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database: each in turn, unless the mark `sqlite` says that one is enough."""
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own, which it may break, lock or replace."""
    return new_database(kind, request, tmp_path)


def new_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "postgresql":
        url: str = request.getfixturevalue("migrated_postgresql")
        empty(url)
        return url
    path = folder / "coachman.db"
    shutil.copyfile(request.getfixturevalue("migrated_file"), path)
    return f"sqlite:///{path}"


def empty(url: str) -> None:
    """Deletes all rows, past any application, and begins the ids anew."""
    if is_postgresql(url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("TRUNCATE items, movements RESTART IDENTITY")
        return
    with closing(sqlite3.connect(sqlite_file(url), timeout=30)) as file, file:
        for table in ("movements", "items", "sqlite_sequence"):
            file.execute(f"DELETE FROM {table}")


def settings_for(url: str) -> Settings:
    return Settings(database_url=url, max_body_bytes=64 * 1024)


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url)


@pytest.fixture(scope="module")
def shared_database(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The database of `client`."""
    return new_database(kind, request, tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def shared_application(shared_database: str) -> Iterator[TestClient]:
    # Its start collects the garbage of the whole test process, 0.1 s of CPU: too much for each test.
    with TestClient(create_app(settings_for(shared_database))) as client:
        yield client


@pytest.fixture
def client(shared_application: TestClient, shared_database: str) -> TestClient:
    """A client of one application for all tests of a module, whose database each test finds empty.

    A test that breaks or replaces the database takes `own_client` instead.
    """
    empty(shared_database)
    return shared_application


@pytest.fixture
def own_client(settings: Settings) -> Iterator[TestClient]:
    """A client of an application that only this test uses, on `database_url`."""
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def create_item(client: TestClient) -> Callable[..., dict[str, Any]]:
    def create(sku: str = "TEA", quantity: int = 0, **fields: Any) -> dict[str, Any]:
        response = client.post("/items", json={"sku": sku, "name": f"Item {sku}"} | fields)
        assert response.status_code == 201, response.text
        item: dict[str, Any] = response.json()
        if quantity:
            book = {"delta": quantity, "reason": "receipt"}
            assert client.post(f"/items/{item['id']}/movements", json=book).status_code == 201
        return item

    return create


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `python -m app ARGUMENTS` in this process: one of its own takes 0.8 s to import the application.

    As a process does, it ends with code 1 and the sentence where SystemExit has one; here it is in `output`.
    """

    def run_command(*arguments: str | Path, **settings: str | Path) -> Result:
        for key, value in settings.items():
            monkeypatch.setenv(f"SHOP_{key.upper()}", str(value))
        return CliRunner().invoke(cli, [*map(str, arguments)])

    return run_command


@pytest.fixture(scope="module")
def served(shared_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server on a free port, started as `python -m app`, for all tests of a module."""
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("served") / "log"
    environment = os.environ | {"SHOP_DATABASE_URL": shared_database, "SHOP_BIND": address}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            assert answers(address, process, seconds=60), log.read_text()
            yield f"http://{address}"
            process.terminate()
            assert process.wait(timeout=60) == -signal.SIGTERM, log.read_text()
        finally:
            process.kill()
            process.wait()


def answers(address: str, process: subprocess.Popen[bytes], seconds: float) -> bool:
    host, port = address.split(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=30).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.02)
    return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs what is marked `sqlite` on that alone."""
    items[:] = [item for item in items if not (item.get_closest_marker("sqlite") and on_postgresql(item))]


def on_postgresql(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("kind") == "postgresql"
