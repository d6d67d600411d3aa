"""`coachman scale N`: changes the number of workers while the service runs."""

import json
import signal
import time
from typing import Annotated

import typer

from coachman.cli._service import fail, find_master, signal_process
from coachman.settings import MOST_WORKERS
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase

SIGNAL_SECONDS = 10  # for the master to take one signal
STEP_SECONDS = 0.02


def scale(
    workers: Annotated[
        int, typer.Argument(min=1, max=MOST_WORKERS, help="How many workers serve from now on.")
    ],
    wait_seconds: Annotated[float, typer.Option("--wait", help="How long that may take, in seconds.")] = 90,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Change the number of workers until the next start or handover.

    Returns when that many serve, and those that are too many have finished their requests and ended.
    """
    scoreboard = find_master("whoever started it can start more of them")
    if scoreboard.service.handover in (Phase.UNDER_WAY, Phase.REFUSING):
        fail("A handover is under way; the next generation has its own number. Try again after it.")
    before = scoreboard.service.workers
    begun = time.monotonic()
    _ask(scoreboard, workers)
    if not _wait_until_serving(scoreboard, workers, wait_seconds):
        fail(
            f"{scoreboard.ready()} of {workers} workers serve after {wait_seconds:g} s; "
            "`coachman status` shows the others. The master goes on trying."
        )
    took = time.monotonic() - begun
    if as_json:
        print(json.dumps({"before": before, "workers": workers, "seconds": round(took, 3)}))
    else:
        print(f"{workers} workers serve (before: {before}); it took {took:.1f} s.")


def _ask(scoreboard: Scoreboard, workers: int) -> None:
    """Signals the master once for each worker, and waits each time: the kernel merges two pending signals."""
    while (now := scoreboard.service.workers) != workers:
        signum = signal.SIGTTIN if now < workers else signal.SIGTTOU
        signal_process(scoreboard.service.pid, signum, "The master")
        deadline = time.monotonic() + SIGNAL_SECONDS
        while scoreboard.service.workers == now:
            if time.monotonic() > deadline:
                fail(
                    f"The master {scoreboard.service.pid} did not take the signal within {SIGNAL_SECONDS} s."
                )
            time.sleep(STEP_SECONDS)


def _wait_until_serving(scoreboard: Scoreboard, workers: int, seconds: float) -> bool:
    """Whether, in time, exactly `workers` serve and the others have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if scoreboard.ready() == workers == len(scoreboard.rows()):
            return True
        time.sleep(STEP_SECONDS)
    return False
