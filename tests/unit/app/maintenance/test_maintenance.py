"""Backups and copies, of databases that are in use."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import Result

from app.migrations.migrate import upgrade
from durable_database.location import is_postgresql
from tests.support.databases import query
from tests.support.postgresql import Server

ROOT = Path(__file__).parents[4]
CreateItem = Callable[..., dict[str, Any]]
Command = Callable[..., Result]


@pytest.fixture
def client(own_client: TestClient) -> TestClient:
    """Of an application for each test: its database is copied and replaced."""
    return own_client


def run(url: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command beside the application: in a process of its own, as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"SHOP_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def names(client: TestClient) -> list[str]:
    return [item["sku"] for item in client.get("/items").json()["items"]]


def test_restore_brings_back_what_was_there_at_the_backup_while_serving(
    client: TestClient, create_item: CreateItem, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    create_item("A", quantity=3)

    made = run(database_url, "backup", file)
    create_item("B")
    restored = run(database_url, "restore", file)

    assert made.returncode == 0, made.stderr
    assert restored.returncode == 0, restored.stderr
    assert "s3cret" not in made.stdout + restored.stdout
    assert names(client) == ["A"]
    create_item("C")
    assert names(client) == ["A", "C"]
    if not is_postgresql(database_url):
        assert len(list(tmp_path.glob("coachman.db.before-restore-*"))) == 1
        assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_backup_does_not_replace_another_one(run_command: Command, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("mine")

    refused = run_command("backup", tmp_path / "backup", database_url=database_url)

    assert refused.exit_code == 1
    assert refused.output.endswith("exists already and stays as it is; name another file\n")
    assert (tmp_path / "backup").read_text() == "mine"


def test_what_is_no_backup_is_not_restored(
    client: TestClient, create_item: CreateItem, run_command: Command, database_url: str, tmp_path: Path
) -> None:
    create_item("A")
    (tmp_path / "other").write_text("Not a database at all, although long enough to look at. " * 20)

    refused = run_command("restore", tmp_path / "other", database_url=database_url)

    assert refused.exit_code == 1
    assert refused.output.count("\n") == 1, refused.output
    assert names(client) == ["A"]


@pytest.mark.sqlite
def test_damaged_backup_is_not_restored(
    client: TestClient, create_item: CreateItem, run_command: Command, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    for n in range(50):
        create_item(f"A{n}")
    run_command("backup", file, database_url=database_url)
    content = bytearray(file.read_bytes())
    content[3 * 4096 : 5 * 4096] = b"x" * (2 * 4096)
    file.write_bytes(content)

    refused = run_command("restore", file, database_url=database_url)

    assert refused.exit_code == 1
    assert "damaged" in refused.output or "malformed" in refused.output
    assert len(names(client)) == 50


@pytest.mark.sqlite
def test_copy_to_postgresql_is_complete_and_continues_the_ids(
    client: TestClient,
    create_item: CreateItem,
    run_command: Command,
    database_url: str,
    postgresql_server: Server,
) -> None:
    create_item("A", quantity=3, description="Tëa, \\N", unit_price=450)
    gone = create_item("B")
    client.delete(f"/items/{gone['id']}", headers={"If-Match": "*"})
    target = postgresql_server.new_database()

    copied = run_command("copy-to", target, database_url=database_url)

    assert copied.exit_code == 0, copied.output
    assert copied.stdout.endswith("and the same there: 1 items, 1 movements\n")
    assert query(target, "SELECT sku, description, quantity FROM items") == [("A", "Tëa, \\N", 3)]
    insert = (
        "INSERT INTO items (sku, name, search, created_at, updated_at) VALUES ('C', '', '', now(), now())"
    )
    assert query(target, f"{insert} RETURNING id") == [(gone["id"] + 1,)]
    again = run_command("copy-to", target, database_url=database_url)
    assert again.exit_code == 1
    assert "has rows already; copy into a new database" in again.output


@pytest.mark.sqlite
def test_copy_that_is_refused_leaves_nothing(
    create_item: CreateItem, run_command: Command, database_url: str, postgresql_server: Server
) -> None:
    create_item("A", quantity=3)
    target = postgresql_server.new_database()
    upgrade(target)
    query(target, "ALTER TABLE movements ADD CONSTRAINT refused CHECK (delta < 3)")

    refused = run_command("copy-to", target, database_url=database_url)

    assert refused.exit_code == 1
    assert "refused" in refused.output
    assert query(target, "SELECT * FROM items") == []
