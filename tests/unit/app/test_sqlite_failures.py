"""A file, or a disk, that lets the service down."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.lifespan import NotReadyError
from app.main import create_app
from app.migrations.migrate import upgrade
from app.settings import Settings
from tests.support.databases import query
from tests.support.service import wait_until

pytestmark = pytest.mark.sqlite

CreateItem = Callable[..., dict[str, Any]]


@pytest.fixture
def client(own_client: TestClient) -> TestClient:
    """Of an application for each test: its database is taken away."""
    return own_client


def start(url: str) -> None:
    with TestClient(create_app(Settings(database_url=url))):
        pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_is_503_for_writes_until_there_is_room(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/x.db"
    upgrade(url)
    with TestClient(create_app(Settings(database_url=url))) as client:
        kept = client.post("/items", json={"sku": "KEPT", "name": "Tea"})
        filler = small_disk / "filler"
        with filler.open("wb") as file:
            while (free := os.statvfs(small_disk)).f_bavail:
                file.write(b"x" * free.f_bsize)
                file.flush()
        refused = [client.post("/items", json={"sku": f"NO-{n}", "name": "Tea " * 40}) for n in range(20)]
        read = client.get("/items/1")
        filler.unlink()
        accepted = client.post("/items", json={"sku": "AFTER", "name": "Tea"})

    assert kept.status_code == 201
    assert 503 in {response.status_code for response in refused}
    assert {response.status_code for response in refused} <= {201, 503}
    assert refused[-1].headers["retry-after"] == "30"
    assert (read.status_code, accepted.status_code) == (200, 201)
    acknowledged = {r.json()["sku"] for r in (kept, accepted, *refused) if r.status_code == 201}
    assert {sku for (sku,) in query(url, "SELECT sku FROM items")} == acknowledged
    assert query(url, "PRAGMA integrity_check") == [("ok",)]


def test_damaged_file_is_refused_or_answered_with_500_and_never_with_wrong_data(
    database_url: str, tmp_path: Path
) -> None:
    with TestClient(create_app(Settings(database_url=database_url))) as client:
        for n in range(200):
            assert client.post("/items", json={"sku": f"T-{n}", "name": "Tea " * 40}).status_code == 201
    file = Path(database_url.removeprefix("sqlite:///"))
    content = bytearray(file.read_bytes())
    content[4096 * 4 :] = b"\xff" * (len(content) - 4096 * 4)
    file.write_bytes(content)

    with TestClient(create_app(Settings(database_url=database_url)), raise_server_exceptions=False) as client:
        response = client.get("/items", params={"limit": 100})

    assert response.status_code == 500


def test_file_that_is_removed_while_serving_takes_no_more_writes(
    settings: Settings, create_item: CreateItem, client: TestClient
) -> None:
    file = Path(settings.database_url.removeprefix("sqlite:///"))
    item = create_item("A", quantity=3)
    away = file.rename(file.with_name("away.db"))

    refused = [
        client.post("/items", json={"sku": "B", "name": "Lost"}),
        client.post(f"/items/{item['id']}/movements", json={"delta": 1, "reason": "receipt"}),
    ]
    away.rename(file)

    assert [response.status_code for response in refused] == [503, 503]
    assert client.post("/items", json={"sku": "C", "name": "Kept"}).status_code == 201


def test_file_that_is_replaced_while_serving_is_not_read_either(
    settings: Settings, create_item: CreateItem, client: TestClient
) -> None:
    """Else one worker would show what others, which have started since, do not."""
    file = Path(settings.database_url.removeprefix("sqlite:///"))
    create_item("A", quantity=3)
    away = file.rename(file.with_name("away.db"))
    shutil.copy(away, file)

    assert wait_until(lambda: client.get("/items").status_code == 503, seconds=60)
    away.rename(file)
    assert client.get("/items").status_code == 200


def test_file_that_is_cut_off_is_refused_at_the_start(database_url: str) -> None:
    file = Path(database_url.removeprefix("sqlite:///"))
    os.truncate(file, 4096 * 2)

    with pytest.raises(NotReadyError, match="malformed; move it away and run: python -m app restore"):
        start(database_url)


def test_file_in_a_folder_that_cannot_be_written_is_refused_at_the_start(
    migrated_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    shutil.copyfile(migrated_file, folder / "x.db")
    mounted = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting takes root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        with pytest.raises(NotReadyError, match=r"x\.db cannot be (opened|read): "):
            start(f"sqlite:///{folder}/x.db")
    finally:
        subprocess.run(["umount", folder], check=True)
