"""Finds the service that the operator means."""

import os
from pathlib import Path
from typing import NoReturn

import typer

from coachman.state import runtime_dir
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase
from coachman.system.process import is_stopped

NO_SERVICE = 3  # as systemctl has it


def find_services() -> list[Scoreboard]:
    """Returns the living generations, newest first. Ends the command when there is none."""
    try:
        found = runtime_dir.scoreboards(folder_of_services())
    except PermissionError as error:
        fail(f"{error.filename} cannot be read: run this as the service's user.")
    except runtime_dir.OtherLayoutError as error:
        fail(f"{folder_of_services()}: {error}; use the command of its own release.")
    if not found:
        looked_in = " or ".join(map(str, _folders()))
        fail(
            f"No Coachman service runs: no living master's scoreboard in {looked_in}. "
            "Set COACHMAN_RUNTIME_DIR to the folder that the service was started with.",
            NO_SERVICE,
        )
    return found


def find_service() -> Scoreboard:
    """Returns the generation that speaks for the service: the older one, until it has handed over."""
    services = find_services()
    return next((one for one in reversed(services) if one.service.handover != Phase.ACCEPTED), services[0])


def find_master(instead: str) -> Scoreboard:
    """Returns the same for a command to the master. `instead` says who does it where there is no master."""
    found = find_service()
    if found.is_without_master:
        fail(f"Process {found.service.pid} serves without a master: {instead}.")
    require_running(found.service.pid, "Nothing was asked of it, and nothing will happen later")
    return found


def require_running(master: int, what_stands: str) -> None:
    """Ends the command where the master was stopped: a signal to it would be done whenever it goes on."""
    if is_stopped(master):
        fail(f"The master {master} was stopped (SIGSTOP). {what_stands}. Let it go on: kill -CONT {master}")


def folder_of_services() -> Path:
    """Returns the first folder with a service in it, else the last one."""
    *others, last = _folders()
    return next((folder for folder in others if any(folder.glob("scoreboard.*"))), last)


def fail(message: str, code: int = 1) -> NoReturn:
    """Ends the command with `message` on standard error."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def signal_process(pid: int, signum: int, what: str) -> None:
    """Sends the signal. Ends the command when this user may not, or when the process has ended."""
    try:
        os.kill(pid, signum)
    except PermissionError:
        fail(f"{what} {pid} belongs to another user: run this as root or as that user.")
    except ProcessLookupError:
        fail(f"{what} {pid} has just ended: try again.")


def _folders() -> list[Path]:
    """Returns the folder that is set, else those of a service started here and of the installed unit."""
    configured = os.environ.get("COACHMAN_RUNTIME_DIR") or os.environ.get("RUNTIME_DIRECTORY")
    return [Path(configured)] if configured else [Path("var/run"), runtime_dir.INSTALLED]
