"""`coachman status`: who serves, read from the scoreboard without asking the service."""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from coachman.cli._service import NO_SERVICE, fail, find_service, find_services, folder_of_services
from coachman.cli._slot_table import SlotTable
from coachman.state import start_errors
from coachman.state.readiness import readiness, status_line
from coachman.state.runtime_dir import scoreboards
from coachman.state.scoreboard import Scoreboard
from coachman.state.view import View

UNEVEN = 1.5  # times an even share of the connections, which is worth a word
REFRESH_SECONDS = 0.5
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
    report = _report(View.of(find_service()))
    if as_json:
        print(json.dumps(report))
    else:
        _console().print(_page(find_services()))
    raise typer.Exit(0 if report["status"] == "ready" else 1)


def _watch(as_json: bool) -> None:
    try:
        if as_json:
            while True:
                print(json.dumps(_report(View.of(find_service()))), flush=True)
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
            line.append(
                f"; {view.lines_dropped:,} log lines dropped, as the log's reader was too slow",
                style="yellow",
            )
        parts += [line, SlotTable(view)]
        errors = start_errors.of_view(folder_of_services(), view)
        parts += [Text(sentence, "red") for sentence in start_failures(errors)]
    return Group(*parts)


def start_failures(errors: Mapping[int, str]) -> list[str]:
    """Why slots do not come up, such as "slots 0, 2: no broker (main.py:5)", of the sentence of each slot."""
    slots: dict[str, list[int]] = {}
    for number, said in sorted(errors.items()):
        slots.setdefault(said, []).append(number)
    return [
        f"slot{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {said}"
        for said, numbers in slots.items()
    ]


def _report(view: View) -> dict[str, Any]:
    return readiness(view, start_errors.of_view(folder_of_services(), view))


def _console() -> Console:
    """Returns a console as wide as the terminal; through a pipe nothing is cropped."""
    is_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if is_narrow else Console(width=PIPE_WIDTH)
