"""A migrated database file and a client for each test."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.migrations.migrate import upgrade
from app.settings import Settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(migrated_file: Path, tmp_path: Path) -> str:
    path = tmp_path / "coachman.db"
    shutil.copyfile(migrated_file, path)
    return f"sqlite:///{path}"


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
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = tmp_path / "served.log"
    environment = os.environ | {"COACHMAN_DATABASE_URL": database_url, "COACHMAN_BIND": address}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            assert answers(address, process, seconds=15), log.read_text()
            yield f"http://{address}"
            process.terminate()
            assert process.wait(timeout=30) == 0, log.read_text()
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
