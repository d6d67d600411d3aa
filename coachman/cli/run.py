"""What `coachman run` does before it becomes a master."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import typer

from coachman.cli._configuration import Configuration, configure
from coachman.cli._options import Given
from coachman.system import app_finder, gunicorn_file
from coachman.system.gunicorn_file import GunicornFile
from coachman.system.sockets import are_handed_in, is_free, parse_address

OPS_PORTS = 100  # to try after the usual one


class Prepared(NamedTuple):
    """What the master is started with beside its environment."""

    environment: dict[str, str]  # as it was, which the next master of a handover starts with
    from_project: GunicornFile


def prepare(application: str, given: Given) -> Prepared:
    """Puts what flags and files say into the environment, from which the master reads."""
    original = dict(os.environ)
    if sentence := app_finder.hiding_coachman(Path.cwd()):
        raise SystemExit(sentence)
    configuration = configure(application, given)
    if "GUNICORN_PID" not in os.environ and not are_handed_in():
        _move_ops_listener(configuration)
    _keep_out_of_git(configuration.settings.runtime_dir)
    for sentence in _not_used(configuration.gunicorn):
        typer.echo(sentence, err=True)
    return Prepared(original, configuration.gunicorn)


def _move_ops_listener(configuration: Configuration) -> None:
    """Another service on this machine may have the usual port. One that was chosen is never changed."""
    if configuration.source("ops_bind") != "default":
        return
    address = parse_address(configuration.settings.ops_bind)
    assert isinstance(address, tuple)
    host, first = address
    if is_free((host, first)):
        return
    for port in range(first + 1, first + OPS_PORTS):
        if is_free((host, port)):
            os.environ["COACHMAN_OPS_BIND"] = f"{host}:{port}"
            typer.echo(f"{host}:{first} is in use: the status page is on {host}:{port}.", err=True)
            return


def _not_used(file: GunicornFile) -> list[str]:
    """What somebody who comes from Gunicorn has set and has no effect here, a sentence each."""
    sentences = []
    if file.unused:
        sentences.append(
            f"{gunicorn_file.NAME}: {', '.join(file.unused)} not used here: see docs/migrating.md."
        )
    if os.environ.get("GUNICORN_CMD_ARGS"):
        sentences.append("GUNICORN_CMD_ARGS is not used here: give the flags to coachman instead.")
    return sentences


def _keep_out_of_git(folder: Path) -> None:
    """A folder that is made in somebody's project is not to be committed with it."""
    if folder == Path("var/run") and not folder.exists():
        with contextlib.suppress(OSError):  # the service says so itself, and runs without
            folder.mkdir(parents=True)
            (folder / ".gitignore").write_text("*\n")
