"""`coachman status`: who serves, read from the scoreboard without asking the service."""

import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from coachman.cli._service import NO_SERVICE, fail, find_service, find_services, folder_of_services
from coachman.cli._slot_table import SlotTable
from coachman.state import events
from coachman.state.readiness import readiness, status_line
from coachman.state.runtime_dir import scoreboards
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State
from coachman.state.view import View

UNEVEN = 1.5  # times an even share of the connections, which is worth a word
REFRESH_SECONDS = 0.5
_SERVING = (State.READY, State.DRAINING)
PIPE_WIDTH = 1000  # characters


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what /readyz answers; with --watch, line by line.")
    ] = False,
) -> None:
    """Show the workers, slot by slot.

    Exit code: 0 all workers serve, 1 they do not, 3 no service runs.
    """
    if watch:
        _watch(as_json)
        return
    report = readiness(View.of(find_service()))
    if as_json:
        print(json.dumps(report))
    else:
        _console().print(_page(find_services()))
    raise typer.Exit(0 if report["status"] == "ready" else 1)


def _watch(as_json: bool) -> None:
    try:
        if as_json:
            while True:
                print(json.dumps(readiness(View.of(find_service()))), flush=True)
                time.sleep(REFRESH_SECONDS)
        _show()
    except KeyboardInterrupt:
        return


def _show() -> NoReturn:
    services = find_services()
    live = Live(_page(services), auto_refresh=False, screen=True)
    try:
        live.start(refresh=True)
        while services:
            time.sleep(REFRESH_SECONDS)
            services = scoreboards(folder_of_services())
            if services:
                live.update(_page(services), refresh=True)
    finally:
        live.stop()  # `with live` would leave a terminal as it is that is interrupted in the start
    fail("The service has ended.", NO_SERVICE)  # on the screen that stays


def _page(services: list[Scoreboard]) -> Group:
    parts: list[Any] = []
    for scoreboard in services:
        name = "Process" if scoreboard.is_without_master else "Master"
        view = View.of(scoreboard)
        line = Text(f"{name} {view.service.pid}: {status_line(view)}")
        if view.imbalance > UNEVEN:
            line.append(f"; one worker has {view.imbalance:.1f} times its share of the connections", "yellow")
        if view.lines_dropped:
            line.append(f"; {view.lines_dropped:,} log lines dropped, nobody read them", style="yellow")
        parts += [line, SlotTable(view)]
        happened = events.latest(folder_of_services()) if _failing(view) else []
        parts += [Text(sentence, "red") for sentence in start_failures(view, happened)]
    return Group(*parts)


def start_failures(view: View, happened: Iterable[dict[str, Any]]) -> list[str]:
    """Why the slots that do not come up fail, such as "slots 0, 2: The application failed: no broker".

    `happened` are the events, the newest first.
    """
    why: dict[int, str] = {}
    for event in happened:
        if event.get("generation") == view.service.generation and "why" in event:
            why.setdefault(event["slot"], event["why"])
    slots: dict[str, list[int]] = {}
    for number in _failing(view):
        if said := why.get(number):
            slots.setdefault(said, []).append(number)
    return [
        f"slot{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {said}"
        for said, numbers in slots.items()
    ]


def _failing(view: View) -> list[int]:
    """The slots whose last worker failed and whose next one does not serve yet."""
    return [number for number, row in view.rows if row.failures and row.state not in _SERVING]


def _console() -> Console:
    """Returns a console as wide as the terminal; through a pipe nothing is cropped."""
    is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if is_narrow else Console(width=PIPE_WIDTH)
