"""`coachman migrate`: what a release has to do before its first worker starts."""

import os
import sys
from pathlib import Path

import typer

from coachman.cli._service import refusal

PROGRAM = Path("scripts/migrate")


def migrate() -> None:
    """Run scripts/migrate of the present release, if it has one.

    Systemd runs it before each start, `coachman release` before the new release serves: while the old one
    still does.
    """
    if not PROGRAM.exists():
        typer.echo(f"There is no {PROGRAM}: nothing to migrate")
        return
    # Not resolved: in a virtual environment the interpreter is a link out of it.
    folder = os.path.dirname(sys.executable)  # noqa: PTH120
    environment = os.environ | {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}
    try:
        os.execve(PROGRAM, [str(PROGRAM)], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise refusal(
            f"{PROGRAM} cannot be run: {(error.strerror or '').lower()}; make it executable (chmod +x)."
        ) from None
