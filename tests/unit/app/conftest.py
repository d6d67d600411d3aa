"""A migrated database file and a client for each test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.migrations.migrate import upgrade
from app.settings import Settings
from tests.support.ports import free_port
from tests.support.postgresql import Server

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: Server) -> str:
    url = postgresql_server.new_database()
    upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: of each kind, unless the mark `sqlite` says that one is enough."""
    if request.param == "postgresql":
        return emptied(request.getfixturevalue("migrated_postgresql"))
    path = tmp_path / "coachman.db"
    shutil.copyfile(request.getfixturevalue("migrated_file"), path)
    return f"sqlite:///{path}"


def emptied(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE items, movements RESTART IDENTITY")
    return url


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(database_url=database_url, max_body_bytes=64 * 1024)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
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
def served(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The address of a real server on a free port, started as `python -m app`."""
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path / "served.log"
    environment = os.environ | {"SHOP_DATABASE_URL": database_url, "SHOP_BIND": address}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            assert answers(address, process, seconds=15), log.read_text()
            yield f"http://{address}"
            process.terminate()
            assert process.wait(timeout=30) == -signal.SIGTERM, log.read_text()
        finally:
            process.kill()
            process.wait()


def answers(address: str, process: subprocess.Popen[bytes], seconds: float) -> bool:
    host, port = address.split(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except ConnectionRefusedError:
            time.sleep(0.02)
    return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs what is marked `sqlite` on that alone."""
    items[:] = [item for item in items if not (item.get_closest_marker("sqlite") and on_postgresql(item))]


def on_postgresql(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("database_url") == "postgresql"
