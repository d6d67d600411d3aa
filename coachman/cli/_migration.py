"""Finds how a release brings its database to its schema, and runs that: one at a time on a machine."""

import fcntl
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

import typer

from coachman.cli._service import fail
from coachman.system import project_file

SCRIPT, ALEMBIC = Path("scripts/migrate"), Path("alembic.ini")
_UNKNOWN_REVISION = (
    "Can't locate revision identified by"  # which Alembic says of a database of a later release
)


class Migration(NamedTuple):
    """What is run, and where that is said."""

    command: list[str]
    source: str


def find(folder: Path) -> Migration | None:
    """Returns what `migrate` of [tool.coachman] says, else scripts/migrate, else Alembic for an alembic.ini.

    Ends the command with one sentence where it cannot be used.
    """
    try:
        said = project_file.table(folder).get("migrate")
    except ValueError as error:
        fail(str(error))
    words = _words(said) if said is not None else None
    if words is not None:  # an empty command is none, whatever else is there
        return Migration(words, f"{project_file.NAME}: tool.coachman.migrate") if words else None
    if (folder / SCRIPT).exists():
        return Migration([str(SCRIPT)], str(SCRIPT))
    if (folder / ALEMBIC).exists():
        return Migration([sys.executable, "-m", "alembic", "upgrade", "head"], str(ALEMBIC))
    return None


def run(migration: Migration) -> None:
    """Runs it once nobody else on this machine migrates. Ends the command when it fails."""
    lock = _lock()
    if migration.source == str(ALEMBIC):
        _run_alembic(migration.command)
    else:
        _become(migration, lock)


def environment_of_release() -> dict[str, str]:
    """Returns ours with this virtual environment's programs first on the PATH."""
    # Not resolved: in a virtual environment the interpreter is a link out of it.
    folder = os.path.dirname(sys.executable)  # noqa: PTH120
    return os.environ | {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}


def _words(command: object) -> list[str]:
    if not isinstance(command, str):
        _refuse("it must be a command, in quotes")
    try:
        return shlex.split(command)
    except ValueError as error:
        _refuse(str(error).lower())


def _refuse(reason: str) -> NoReturn:
    fail(f"{project_file.NAME}: tool.coachman.migrate is refused: {reason}.")


def _lock() -> int | None:
    """Takes the lock in the folder that systemd has made for the service's state; none without systemd.

    A start and a release would migrate at the same time where the service has crashed meanwhile.
    """
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not state:
        return None
    path = Path(state, "migrate.lock")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        fail(f"{path} cannot be opened: {(error.strerror or str(error)).lower()}.")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        typer.echo("Another migration is under way: waiting for its end")
        fcntl.flock(file, fcntl.LOCK_EX)  # systemd ends what takes too long
    return file


def _become(migration: Migration, lock: int | None) -> None:
    """Signals reach the command itself, which has the lock as long as it runs."""
    if lock is not None:
        os.set_inheritable(lock, True)
    program, *arguments = migration.command
    environment = environment_of_release()
    try:
        os.execvpe(program, [program, *arguments], environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        cure = "; make it executable (chmod +x)" if isinstance(error, PermissionError) else ""
        fail(f"{program} ({migration.source}) cannot be run: {reason}{cure}.")


def _run_alembic(command: list[str]) -> None:
    if importlib.util.find_spec("alembic") is None:
        fail(
            f"{ALEMBIC} is here, and the package alembic is not installed: add it to what the project"
            f' requires, or put migrate = "" under [tool.coachman] in {project_file.NAME}.'
        )
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda received, _: running.send_signal(received))
    assert running.stdout is not None
    printed = ""
    for line in running.stdout:
        printed += line
        typer.echo(line, nl=False)
    if running.wait() == 0:
        typer.echo(f"The database is at the newest revision ({ALEMBIC})")
    elif _UNKNOWN_REVISION in printed:
        # After a rollback the service must come up again, and the schema that is there is a later one.
        typer.echo("A later release has migrated the database: it stays as it is")
    else:
        fail(f"`alembic upgrade head` ended with exit code {running.returncode}.")
