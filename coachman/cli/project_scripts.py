"""`coachman migrate` and `coachman keys`: run the scripts that a release brings for them."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from coachman.cli._service import fail

MIGRATE, KEYS = Path("scripts/migrate"), Path("scripts/keys")


def migrate() -> None:
    """Run scripts/migrate of the present release, if it has one.

    systemd runs this before each start. `coachman release` runs it while the old release still serves.
    """
    if not MIGRATE.exists():
        typer.echo(f"There is no {MIGRATE}: nothing to migrate")
        return
    _run(MIGRATE)


def keys(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="add|list|revoke ...", help="See above.")
    ] = None,
) -> None:
    """Make, list and revoke the keys of clients: runs scripts/keys of the present release."""
    if not KEYS.exists():
        fail(f"There is no {KEYS} here: this application keeps no keys of its own.")
    _run(KEYS, *(arguments or []))


def _run(script: Path, *arguments: str) -> NoReturn:
    # Not resolved: in a virtual environment the interpreter is a link out of it.
    folder = os.path.dirname(sys.executable)  # noqa: PTH120
    environment = os.environ | {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}
    try:
        os.execve(script, [str(script), *arguments], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fail(f"{script} cannot be run: {reason}; make it executable (chmod +x).")
