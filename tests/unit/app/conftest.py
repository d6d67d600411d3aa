"""A migrated database file and a client for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.migrations.migrate import upgrade
from app.settings import Settings


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
