"""`coachman migrate`: what it finds in a project, once at a time, and what a rollback leaves."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deadlines import COMMAND_SECONDS
from tests.support.service import REPOSITORY, wait_until

ENV = """
from alembic import context
from sqlalchemy import create_engine

with create_engine("sqlite:///shop.db").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
import sqlalchemy
from alembic import op
revision, down_revision = {revision!r}, {before!r}

def upgrade():
    op.create_table("t{revision}", sqlalchemy.Column("id", sqlalchemy.Integer))
"""

Migrate = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def environment(project: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "STATE_DIRECTORY": str(project)}


@pytest.fixture
def migrate(project: Path) -> Migrate:
    def migrate(code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "coachman", "migrate"],
            cwd=project,
            env=environment(project),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == code, done.stdout
        assert "coachman/cli" not in done.stdout, done.stdout
        return done

    return migrate


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def with_alembic(project: Path, *revisions: str) -> None:
    files = {"alembic.ini": "[alembic]\nscript_location = migrations\n", "migrations/env.py": ENV}
    for revision, before in zip(revisions, (None, *revisions), strict=False):
        files[f"migrations/versions/{revision}.py"] = REVISION.format(revision=revision, before=before)
    write(project, files)


def with_script(project: Path, text: str) -> None:
    write(project, {"scripts/migrate": f"#!/bin/sh\n{text}\n"})
    (project / "scripts" / "migrate").chmod(0o755)


def test_a_project_without_migrations_has_nothing_to_migrate(migrate: Migrate) -> None:
    assert "nothing to migrate" in migrate().stdout


def test_alembic_is_found_and_a_second_time_changes_nothing(project: Path, migrate: Migrate) -> None:
    with_alembic(project, "0001", "0002")

    assert "The database is at the newest revision (alembic.ini)" in migrate().stdout
    assert b"t0002" in (project / "shop.db").read_bytes()
    migrate()


def test_a_database_of_a_later_release_stays_as_it_is(project: Path, migrate: Migrate) -> None:
    with_alembic(project, "0001", "0002")
    migrate()
    (project / "migrations" / "versions" / "0002.py").unlink()

    assert "A later release has migrated the database: it stays as it is" in migrate().stdout


def test_a_migration_that_fails_ends_with_its_reason(project: Path, migrate: Migrate) -> None:
    with_alembic(project, "0001")
    write(project, {"migrations/env.py": "raise OSError('no such host')\n"})

    said = migrate(code=1).stdout
    assert "OSError: no such host" in said
    assert said.endswith("`alembic upgrade head` ended with exit code 1.\n")


def test_a_script_goes_before_alembic_and_a_command_before_both(project: Path, migrate: Migrate) -> None:
    with_alembic(project, "0001")
    with_script(project, "echo by the script")
    assert migrate().stdout == "by the script\n"

    command = "[tool.coachman]\nmigrate = \"python -c 'import sys; print(sys.prefix)'\"\n"
    write(project, {"pyproject.toml": command})
    assert migrate().stdout == f"{sys.prefix}\n"

    write(project, {"pyproject.toml": '[tool.coachman]\nmigrate = ""\n'})
    assert "nothing to migrate" in migrate().stdout
    assert not (project / "shop.db").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("migrate = 1", "pyproject.toml: tool.coachman.migrate is refused: it must be a command, in quotes."),
        ('migrate = "a \'b"', "pyproject.toml: tool.coachman.migrate is refused: no closing quotation."),
        ("migrate = [", "pyproject.toml cannot be read: "),
        (
            'migrate = "nowhere-to-be-found"',
            "nowhere-to-be-found (pyproject.toml: tool.coachman.migrate) cannot be run: no such file",
        ),
        (
            'migrate = "./pyproject.toml"',
            "cannot be run: permission denied; make it executable (chmod +x).",
        ),
    ],
)
def test_a_command_that_cannot_be_run_is_one_sentence(
    project: Path, migrate: Migrate, line: str, sentence: str
) -> None:
    write(project, {"pyproject.toml": f"[tool.coachman]\n{line}\n"})

    assert sentence in migrate(code=1).stdout


def test_alembic_that_is_not_installed_is_one_sentence(project: Path, migrate: Migrate) -> None:
    hidden = "import sys; sys.modules['alembic'] = None\n"  # which makes its import fail
    write(project, {"alembic.ini": "", "sitecustomize.py": hidden})
    script = "import sys; sys.modules['alembic'] = None; from coachman.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", script, "migrate"],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 1
    assert "alembic.ini is here, and the package alembic is not installed: add it to what" in done.stderr


def test_two_migrations_run_one_after_the_other(project: Path, migrate: Migrate) -> None:
    with_script(project, "touch begun; while test -e gate; do sleep 0.05; done; echo done")
    (project / "gate").touch()
    command = [sys.executable, "-m", "coachman", "migrate"]
    first = subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.PIPE, text=True
    )
    assert wait_until((project / "begun").exists)
    with_script(project, "test ! -e gate && echo second")
    log = (project / "log").open("w+")
    second = subprocess.Popen(command, cwd=project, env=environment(project), stdout=log)
    try:
        assert wait_until(lambda: "waiting for its end" in (project / "log").read_text())
        (project / "gate").unlink()
        assert first.communicate(timeout=COMMAND_SECONDS)[0] == "done\n"
        assert second.wait(COMMAND_SECONDS) == 0
        assert (project / "log").read_text().endswith("end\nsecond\n")
    finally:
        for process in (first, second):
            process.kill()
            process.wait(10)
        log.close()


def test_a_stop_reaches_the_migration_itself(project: Path) -> None:
    with_script(project, "trap 'echo stopped; exit 7' TERM; touch begun; while true; do sleep 0.05; done")
    running = subprocess.Popen(
        [sys.executable, "-m", "coachman", "migrate"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert wait_until((project / "begun").exists)
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=COMMAND_SECONDS)[0] == "stopped\n"
    assert running.returncode == 7
