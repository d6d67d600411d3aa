"""A PostgreSQL server that is away, or too small."""

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.lifespan import NotReadyError
from app.main import create_app
from app.migrations.migrate import MigrationError, upgrade
from app.settings import Settings
from durable_database import location
from tests.support.databases import query
from tests.support.postgresql import Server

NOWHERE = "postgresql://shop:s3cret@127.0.0.1:1/shop"


def start(url: str, connections: int = 2) -> None:
    with TestClient(create_app(Settings(database_url=url, database_connections=connections))):
        pass


def test_server_that_is_away_at_the_start_is_one_sentence_without_the_password() -> None:
    with pytest.raises(NotReadyError, match=r"cannot be opened: .*; start it, or correct") as refused:
        start(NOWHERE)
    with pytest.raises(MigrationError, match=r"cannot be migrated: .*refused") as not_migrated:
        upgrade(NOWHERE)

    for error in (refused, not_migrated):
        assert "postgresql://shop:***@127.0.0.1:1/shop" in str(error.value)
        assert "s3cret" not in str(error.value)
        assert "\n" not in str(error.value)


def test_wrong_password_and_missing_database_are_one_sentence(postgresql_server: Server) -> None:
    with pytest.raises(NotReadyError, match='password authentication failed for user "shop"; start it'):
        start(postgresql_server.url("postgres").replace("s3cret", "wrong"))
    with pytest.raises(NotReadyError, match='database "none" does not exist; start it, or correct'):
        start(postgresql_server.url("none"))


def test_unmigrated_database_is_refused_with_the_command(postgresql_server: Server) -> None:
    with pytest.raises(NotReadyError, match=r"at revision None, this release needs .*; run: python -m app"):
        start(postgresql_server.new_database())


def test_server_that_goes_away_is_503_until_it_is_back(
    postgresql_server: Server, migrated_postgresql: str
) -> None:
    app = create_app(Settings(database_url=migrated_postgresql, database_connections=2))
    with TestClient(app) as client:
        assert client.get("/items").status_code == 200
        postgresql_server.stop()
        try:
            away = [client.get("/items"), client.post("/items", json={"sku": "GONE", "name": "Gone"})]
        finally:
            postgresql_server.start()
        deadline = time.monotonic() + 90
        while (back := client.get("/items")).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)

    for response in away:
        assert (response.status_code, response.headers["retry-after"]) == (503, "5"), response.text
        assert response.headers["content-type"] == "application/problem+json"
    assert back.status_code == 200, back.text


def test_more_workers_than_connections_are_refused_with_the_arithmetic(
    migrated_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COACHMAN_WORKER_COUNT", "4")

    start(migrated_postgresql, connections=7)
    with pytest.raises(
        NotReadyError, match=r"4 workers x 8 connections x 2 during a handover are 64, .*gives 57"
    ):
        start(migrated_postgresql, connections=8)


def test_limit_of_the_database_counts_too(migrated_postgresql: str) -> None:
    name = migrated_postgresql.rpartition("/")[2].partition("?")[0]
    query(migrated_postgresql, f'ALTER DATABASE "{name}" CONNECTION LIMIT 3')
    try:
        with pytest.raises(NotReadyError, match=r"1 workers x 2 connections x 2 .* are 4, .* gives 3;"):
            start(migrated_postgresql, connections=2)
    finally:
        query(migrated_postgresql, f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')


@pytest.mark.parametrize(
    ("kind", "refused"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False), ("tmpfs", False)],
)
def test_file_on_a_network_file_system_is_refused(
    migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, refused: bool
) -> None:
    place = str(migrated_file.parent).replace(" ", r"\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"99 22 0:50 / {place} rw,relatime shared:2 - {kind} host:/export rw\n"
    )
    monkeypatch.setattr(location, "MOUNTS", mounts)
    url = f"sqlite:///{migrated_file}"

    if not refused:
        start(url)
        return
    with pytest.raises(NotReadyError, match=f"is on {kind}, a network file system"):
        start(url)
    with pytest.raises(MigrationError, match=f"is on {kind}, a network file system"):
        upgrade(url)
