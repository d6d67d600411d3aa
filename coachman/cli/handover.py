"""`coachman handover`: moves the service to the release that is there now, or says why it stays."""

import os
import signal
import time
from pathlib import Path

import typer

from coachman.cli._service import fail, find_master, find_services, folder_of_services, signal_process
from coachman.state.handover_files import offer_environment, tail, withdraw_environment
from coachman.state.runtime_dir import scoreboard_of
from coachman.state.scoreboard import Scoreboard, Service
from coachman.state.states import Phase, State

LOOK_SECONDS = 0.02
SIGNAL_SECONDS = 5.0
AGAIN_SECONDS = 1.0
DRAIN_SECONDS = 3700.0  # above the longest drain that can be set
HANDOVER_SECONDS = 7300.0  # the master has limits of its own; this is for a master that is stopped


def handover() -> None:
    """Replace the master and its workers by those of the present release, without losing a request.

    Returns when the new generation serves and the old one drains. Under systemd this is `systemctl
    reload`, and changed settings come along; without it they stay those of the old master.
    """
    _wait_for_the_last_one()
    old = find_master("whoever started it can start the next release and stop this one")
    _refuse_what_the_master_would(old.service, was_ready=old.was_ready)
    folder = folder_of_services()
    if "MAINPID" in os.environ:  # systemd has read the EnvironmentFile anew for us, not for the master
        _offer_environment(folder)
    try:
        _ask(old)
        service = _wait_for_the_outcome(old, folder)
    finally:
        withdraw_environment(folder)
    if service.handover != Phase.ACCEPTED:
        fail(tail(folder) or "The handover is refused; the service's log says why.")
    _wait_until_draining(old, folder)
    typer.echo(
        f"Generation {service.generation + 1} serves (master {service.successor}); the one before drains."
    )


def _wait_for_the_last_one() -> None:
    """The generation before may still drain: its master has to end first."""
    deadline = time.monotonic() + DRAIN_SECONDS
    told = False
    while len(services := find_services()) > 1:
        newest, older = services[0].service, services[1].service
        if older.handover != Phase.ACCEPTED:
            fail(f"A handover from master {older.pid} is under way; `coachman status` shows both.")
        if not told:
            typer.echo(f"Generation {older.generation} still drains (master {older.pid}): waiting.")
            told = True
        if time.monotonic() > deadline:
            fail(f"Master {older.pid} does not end. Generation {newest.generation} serves on.")
        time.sleep(LOOK_SECONDS)


def _refuse_what_the_master_would(service: Service, *, was_ready: bool) -> None:
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
            time.sleep(LOOK_SECONDS)
    fail(f"The master {service.pid} did not begin a handover; the service's log says why.")


def _wait_for_the_outcome(old: Scoreboard, folder: Path) -> Service:
    deadline = time.monotonic() + HANDOVER_SECONDS
    while time.monotonic() < deadline:
        service = old.service
        if service.handover in (Phase.ACCEPTED, Phase.REFUSED):
            return service
        if not _lives(folder, service.pid):
            fail(
                f"The master {service.pid} has ended in the middle of the handover;"
                " `coachman status` shows who serves."
            )
        time.sleep(LOOK_SECONDS)
    return fail("The master does not answer.")


def _wait_until_draining(old: Scoreboard, folder: Path) -> None:
    while _lives(folder, old.service.pid) and any(row.state == State.READY for _, row in old.rows()):
        time.sleep(LOOK_SECONDS)


def _lives(folder: Path, master: int) -> bool:
    """By the lock on its scoreboard: a killed master whose parent does not look keeps its pid."""
    return scoreboard_of(folder, master) is not None
