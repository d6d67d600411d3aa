"""Which of the applications installed on this machine a command is about: `coachman -n NAME ...`."""

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, TypeVar

import typer

from coachman.cli._service import fail
from coachman.releases.command import RefusedError
from coachman.releases.instance import UNNAMED, Instance

Result = TypeVar("Result")
Name = Annotated[
    str, typer.Option("--name", "-n", help="Of one of several applications; the same as `coachman -n NAME`.")
]

_before_the_command: ContextVar[Instance] = ContextVar("instance", default=UNNAMED)


def choose(name: str) -> None:
    """Runs before any command: those that look for a running service find that of this application."""
    instance = _named(name) if name else UNNAMED
    _before_the_command.set(instance)
    if name:
        os.environ.setdefault("COACHMAN_RUNTIME_DIR", str(instance.runtime))


def chosen(name: str = "") -> Instance:
    """Returns the application that this command is about.

    `name` is the command's own option, which goes before the one in front of the command.
    """
    return _named(name) if name else _before_the_command.get()


def finish(procedure: Callable[[], Result]) -> Result:
    """Runs what reads or changes the machine. What is wrong ends the command with one sentence."""
    try:
        return procedure()
    except RefusedError as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"{error.filename} belongs to root: run this with sudo.")


def _named(name: str) -> Instance:
    try:
        return Instance.named(name)
    except ValueError as error:
        fail(f"--name {name} is refused: {error}.")
