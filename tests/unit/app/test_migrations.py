"""The schema's history: applied once, whole or not at all."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from app.inventory.tables import metadata
from app.migrations import postgresql, sqlite_file
from app.migrations.migrate import MigrationError, alembic_config, opened, upgrade
from app.migrations.revision import REVISION
from tests.support.databases import query
from tests.support.postgresql import Server

pytestmark = pytest.mark.sqlite

# Forks six processes once all is imported, so that they migrate at once. Prints what each returned.
UPGRADE_SIX_TIMES = """
import os, sys
from app.migrations.migrate import upgrade
wait, start = os.pipe()  # reading ends when the parent closes its end
for _ in range(6):
    if not os.fork():
        os.close(start)
        os.read(wait, 1)
        try:
            os.write(1, f"{upgrade(sys.argv[1])}\\n".encode())
        except BaseException as error:
            os.write(1, f"{error!r}\\n".encode())
            os._exit(1)
        os._exit(0)
os.close(start)
codes = [os.waitpid(-1, 0)[1] for _ in range(6)]
sys.exit(any(codes))
"""


def test_constant_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [REVISION]


def test_tables_are_what_the_migrations_create(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()

    assert differences == []


def test_checks_and_autoincrement_reach_the_database(database_url: str) -> None:
    path = database_url.removeprefix("sqlite:///")
    insert = (
        "INSERT INTO items (sku, name, search, created_at, updated_at, quantity) VALUES (?, '', '', 0, 0, ?)"
    )
    with closing(sqlite3.connect(path)) as connection:
        for quantity in (-1, 2**53):
            with pytest.raises(sqlite3.IntegrityError, match="ck_items_quantity"):
                connection.execute(insert, ["T", quantity])
        connection.execute(insert, ["T", 2**53 - 1])
        connection.execute("DELETE FROM items")
        connection.execute(insert, ["U", 0])
        assert connection.execute("SELECT id FROM items").fetchall() == [(2,)]
        with pytest.raises(sqlite3.IntegrityError, match="ck_movements_delta"):
            connection.execute(
                "INSERT INTO movements (item_id, delta, reason, quantity, created_at) VALUES (2, 0, '', 0, 0)"
            )


def test_new_database_gets_its_folder_and_wal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "50%.db"

    assert upgrade(f"sqlite:///{tmp_path}/new/50%25.db") is None

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert upgrade(f"sqlite:///{tmp_path}/new/50%25.db") == REVISION


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that is empty, or does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/x.db"
    url: str = request.getfixturevalue("postgresql_server").new_database()
    return url


def test_processes_that_start_together_migrate_once(new_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UPGRADE_SIX_TIMES, new_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done
    assert sorted(done.stdout.split()) == [REVISION] * 5 + ["None"]


def test_migration_that_is_killed_leaves_nothing_and_can_be_repeated(new_url: str) -> None:
    kill = """
import os, signal, sys
from alembic import op
from app.migrations.migrate import upgrade
op.create_index = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # the first migration's last step
upgrade(sys.argv[1])
"""
    killed = subprocess.run([sys.executable, "-c", kill, new_url], timeout=120, check=False)

    assert killed.returncode == -signal.SIGKILL
    with pytest.raises((sqlite3.OperationalError, psycopg.errors.UndefinedTable)):
        query(new_url, "SELECT * FROM items")
    assert upgrade(new_url) is None
    assert upgrade(new_url) == REVISION


def test_newer_schema_that_only_adds_is_left_alone_and_another_is_refused(database_url: str) -> None:
    query(database_url, f"UPDATE alembic_version SET version_num = '{REVISION[:2]}99'")
    assert upgrade(database_url) == f"{REVISION[:2]}99"

    query(database_url, "UPDATE alembic_version SET version_num = '9901'")
    with pytest.raises(MigrationError, match="start the release that migrated it, or restore a backup"):
        upgrade(database_url)
    query(database_url, f"UPDATE alembic_version SET version_num = '{REVISION}'")


def test_tables_on_postgresql_are_what_the_migrations_create(migrated_postgresql: str) -> None:
    with opened(migrated_postgresql) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_waiting_for_another_host_has_a_limit(
    postgresql_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_server.new_database()
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 0.1)
    with (
        opened(url),
        pytest.raises(MigrationError, match=r"another process has been migrating .* for 0\.1 s"),
    ):
        upgrade(url)


def test_waiting_for_another_process_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(sqlite_file, "LOCK_SECONDS", 0.1)
    with (tmp_path / "x.db.migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MigrationError, match=r"another process has held .*x\.db\.migrate\.lock"):
            upgrade(f"sqlite:///{tmp_path}/x.db")


def test_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")

    with pytest.raises(MigrationError, match=r"cannot be created: .*SHOP_DATABASE_URL"):
        upgrade(f"sqlite:///{tmp_path}/var/x.db")


def test_a_mistyped_path_makes_no_folders(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"x\.db cannot be created: No such file or directory"):
        upgrade(f"sqlite:///{tmp_path}/vra/lib/x.db")

    assert not list(tmp_path.iterdir())


def test_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("Not a database at all, although long enough to look at. " * 20)

    with pytest.raises(MigrationError, match="file is not a database"):
        upgrade(f"sqlite:///{tmp_path}/x.db")


def test_workers_do_not_load_alembic() -> None:
    code = "import sys, app.main; sys.exit('alembic' in sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], env=os.environ, timeout=120, check=False)

    assert result.returncode == 0
