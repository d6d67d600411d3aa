"""`coachman migrate` and `coachman keys`: run what a release brings for them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from coachman.cli import _migration
from coachman.cli._service import fail

KEYS = Path("scripts/keys")


def migrate() -> None:
    """Bring the database to the schema of the present release, if it says how.

    By the command that pyproject.toml names as `migrate` in its table tool.coachman, else by scripts/migrate,
    else, where there is an alembic.ini, by `alembic upgrade head`. systemd runs this before each start;
    `coachman release` runs it while the old release still serves.
    """
    migration = _migration.find(Path())
    if migration is None:
        typer.echo("There is no scripts/migrate, alembic.ini or tool.coachman.migrate: nothing to migrate")
        return
    _migration.run(migration)


def keys(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="add|list|revoke ...", help="See above.")
    ] = None,
) -> None:
    """Make, list and revoke the keys of clients: runs scripts/keys of the present release."""
    if not KEYS.exists():
        fail(f"There is no {KEYS} here: this application keeps no keys of its own.")
    command = [str(KEYS), *(arguments or [])]
    try:
        os.execve(KEYS, command, _migration.environment_of_release())  # noqa: S606 - no shell is wanted
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fail(f"{KEYS} cannot be run: {reason}; make it executable (chmod +x).")
