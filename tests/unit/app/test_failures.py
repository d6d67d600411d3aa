"""Failures that are not the client's: busy, broken."""

import sqlite3
from contextlib import closing

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from durable_database import PoolTimeout, TransactionTimeout, sqlite

pytestmark = pytest.mark.sqlite

ITEM = {"sku": "T-1", "name": "Tea"}


def test_database_locked_by_another_process_is_503_with_a_time_to_retry(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MILLISECONDS", 20)
    path = settings.database_url.removeprefix("sqlite:///")
    with TestClient(create_app(settings)) as client, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = client.post("/items", json=ITEM)
        read = client.get("/items")
        other.rollback()
        accepted = client.post("/items", json=ITEM)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "The database is busy; try again in a second."
    assert (read.status_code, accepted.status_code) == (200, 201)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PoolTimeout("full"), 503),
        (TransactionTimeout("10 s"), 503),
        (sqlite3.DatabaseError("malformed"), 500),
    ],
)
def test_failure_is_a_problem_without_its_details(settings: Settings, error: Exception, status: int) -> None:
    app = create_app(settings)

    @app.get("/fail")
    async def fail() -> None:
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/fail")

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert str(error) not in response.text


def test_missing_table_is_500_and_not_called_busy(settings: Settings) -> None:
    path = settings.database_url.removeprefix("sqlite:///")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE items")
        response = client.get("/items")

    assert response.status_code == 500
    assert response.json()["detail"] == "The server failed on this request; its log says why."
