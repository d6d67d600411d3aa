"""`coachman handover`: moves the service to the release that is there now, or says why it stays."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from coachman.cli._handover_progress import Progress
from coachman.cli._service import (
    fail,
    find_master,
    find_services,
    folder_of_services,
    require_running,
    signal_process,
)
from coachman.state.handover_files import offer_environment, tail, withdraw_environment
from coachman.state.runtime_dir import OtherLayoutError, scoreboard_of, scoreboards
from coachman.state.scoreboard import Scoreboard, Service
from coachman.state.states import FIRST_PROCESS, FIRST_PROCESS_SENTENCE, Phase, State
from coachman.system.process import is_stopped

POLL_SECONDS = 0.02
SIGNAL_SECONDS = 5.0
AGAIN_SECONDS = 1.0
DRAIN_BEGINS_SECONDS = 10.0  # after the handover was accepted: the old master only has to signal its workers
DRAIN_SECONDS = 3700.0  # above the longest drain that can be set
HANDOVER_SECONDS = 7300.0  # above the longest start; the master has limits of its own


def handover(
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Whether to wait until the old generation has ended."),
    ] = True,
) -> None:
    """Replace the master and its workers by those of the present release, without losing a request.

    Prints each step. A new release that does not serve is refused, and the old one serves on: exit code 1.
    Under systemd this is `systemctl reload`, which also brings in changed settings and does not wait for the
    drain; anywhere else the settings stay those of the old master.
    """
    is_reload = (
        "MAINPID" in os.environ
    )  # systemd has read the EnvironmentFile anew for us, not for the master
    _wait_for_earlier_handover()
    old = find_master("whoever started it can start the next release and stop this one")
    _require_possible(old.service, was_ready=old.was_ready)
    folder = folder_of_services()
    progress = Progress(old, folder, is_quiet=is_reload)
    if is_reload:
        _offer_environment(folder)
    try:
        _ask(old)
        progress.begun()
        service = _wait_for_outcome(old, folder, progress)
    finally:
        withdraw_environment(folder)
    if service.handover != Phase.ACCEPTED:
        if lost := progress.most_lost():
            typer.echo(f"At most {lost:,} requests were lost by workers that ended meanwhile.", err=True)
        fail(_refusal(tail(folder).splitlines()))
    is_draining = _wait_until_draining(old, folder)
    progress.accepted(service)
    if not is_draining:
        typer.echo(_not_ending(service), err=True)  # the new one serves: this is no reason to go back
    elif wait and not is_reload:
        _wait_until_ended(old, folder, progress)


def _wait_for_earlier_handover() -> None:
    """Waits until an old generation of an earlier handover has drained and its master has ended."""
    deadline = time.monotonic() + DRAIN_SECONDS
    is_said = False
    while len(services := find_services()) > 1:
        newest, older = services[0].service, services[1].service
        if older.handover != Phase.ACCEPTED:
            fail(f"A handover from master {older.pid} is under way; `coachman status` shows both.")
        if not is_said:
            typer.echo(f"Generation {older.generation} still drains (master {older.pid}): waiting.")
            is_said = True
        require_running(older.pid, f"Generation {newest.generation} serves on")
        if time.monotonic() > deadline:
            fail(f"Master {older.pid} does not end. Generation {newest.generation} serves on.")
        time.sleep(POLL_SECONDS)


def _require_possible(service: Service, *, was_ready: bool) -> None:
    """Ends the command where the master would refuse."""
    if service.pid == FIRST_PROCESS:
        fail(f"The handover is refused: {FIRST_PROCESS_SENTENCE}.")
    if service.handover in (Phase.UNDER_WAY, Phase.REFUSING):
        fail(f"A handover from master {service.pid} is under way; `coachman status` shows it.")
    if service.handover == Phase.ACCEPTED:
        fail(
            f"Generation {service.generation} drains, and the one that took over has ended:"
            " start the service."
        )
    if not was_ready:
        fail(f"Generation {service.generation} has not been ready itself yet.")


def _offer_environment(folder: Path) -> None:
    try:
        offer_environment(folder, os.environ)
    except OSError as error:
        withdraw_environment(folder)
        fail(f"Nothing can be written to {folder} ({error.strerror}): no handover.")


def _ask(old: Scoreboard) -> None:
    service = old.service
    deadline = time.monotonic() + SIGNAL_SECONDS
    while time.monotonic() < deadline:
        # More than once: while the master before is at its very end, which nobody sees, it is ignored.
        signal_process(service.pid, signal.SIGUSR2, "The master")
        asked_at = time.monotonic()
        while time.monotonic() - asked_at < AGAIN_SECONDS:
            if old.service.handovers != service.handovers:
                return
            time.sleep(POLL_SECONDS)
    if is_stopped(service.pid):  # by now: it was not when it was found
        fail(
            f"The master {service.pid} was stopped meanwhile (SIGSTOP). It begins when it is resumed:"
            f" kill -CONT {service.pid}"
        )
    fail(f"The master {service.pid} did not begin a handover; the service's log says why.")


def _wait_for_outcome(old: Scoreboard, folder: Path, progress: Progress) -> Service:
    deadline = time.monotonic() + HANDOVER_SECONDS
    while (service := old.service).handover not in (Phase.ACCEPTED, Phase.REFUSED):
        if not _lives(folder, service.pid):
            fail(
                f"The master {service.pid} has ended in the middle of the handover;"
                " `coachman status` shows who serves."
            )
        require_running(service.pid, "The handover continues when the master is resumed")
        if time.monotonic() > deadline:
            fail(f"The master {service.pid} does not answer; `coachman status` shows who serves.")
        progress.look(_successor(folder, service))
        time.sleep(POLL_SECONDS)
    return service


def _refusal(said: list[str]) -> str:
    """What the new release has said, such as its traceback, and last why it is refused."""
    if len(said) > 1 and said[-2].removesuffix(".") in said[-1]:
        del said[-2]  # the reason, which the last line repeats
    return "\n".join(said) or "The handover is refused; the service's log says why."


def _successor(folder: Path, old: Service) -> Scoreboard | None:
    with contextlib.suppress(OtherLayoutError):  # then the handover will be refused
        return next((one for one in scoreboards(folder) if one.service.generation > old.generation), None)
    return None


def _wait_until_draining(old: Scoreboard, folder: Path) -> bool:
    """Whether the old generation stopped to accept requests in time."""
    deadline = time.monotonic() + DRAIN_BEGINS_SECONDS
    while _lives(folder, old.service.pid) and any(row.state == State.READY for _, row in old.rows()):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _wait_until_ended(old: Scoreboard, folder: Path, progress: Progress) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while _lives(folder, old.service.pid):
        if is_stopped(old.service.pid) or time.monotonic() > deadline:
            fail(_not_ending(old.service))
        progress.look(_successor(folder, old.service))
        time.sleep(POLL_SECONDS)
    progress.ended()


def _not_ending(old: Service) -> str:
    cause = f"was stopped (SIGSTOP): kill -CONT {old.pid}" if is_stopped(old.pid) else "does not react"
    return (
        f"Generation {old.generation + 1} serves, but generation {old.generation} does not end:"
        f" its master {old.pid} {cause}"
    )


def _lives(folder: Path, master: int) -> bool:
    """Whether the master lives, by the lock on its scoreboard: a zombie still has its pid."""
    return scoreboard_of(folder, master) is not None
