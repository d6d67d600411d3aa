"""`coachman status`: who serves, read from the scoreboard without asking the service."""

import json
import time
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coachman.cli._service import find_service, find_services
from coachman.state.readiness import readiness, status_line, stuck_sentence
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Reason, State, signal_name, words
from coachman.state.view import View

REFRESH_SECONDS = 0.5
COLOURS = {"ready": "green", "starting": "cyan", "draining": "yellow", "backing-off": "red", "dead": "red"}


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="What /readyz answers, a line for each look.")
    ] = False,
) -> None:
    """Show the workers, slot by slot. Exit code: 0 serves in full, 1 does not, 3 no service runs."""
    if watch:
        _watch(as_json)
        return
    report = readiness(View.of(find_service()))
    if as_json:
        print(json.dumps(report))
    else:
        Console().print(_page(find_services()))
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
    live = Live(_page(find_services()), auto_refresh=False, screen=True)
    try:
        live.start(refresh=True)
        while True:
            time.sleep(REFRESH_SECONDS)
            live.update(_page(find_services()), refresh=True)
    finally:
        live.stop()  # `with live` would leave a terminal as it is that is interrupted in the start


def _page(services: list[Scoreboard]) -> Group:
    parts: list[Any] = []
    for scoreboard in services:
        name = "Process" if scoreboard.is_without_master else "Master"
        view = View.of(scoreboard)
        line = Text(f"{name} {view.service.pid}: {status_line(view)}")
        if view.lines_dropped:
            line.append(f"; {view.lines_dropped:,} log lines dropped, nobody read them", style="yellow")
        parts += [line, _table(view)]
    return Group(*parts)


def _table(view: View) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slot", justify="right")
    table.add_column("state")
    for heading in ("pid", "age", "requests", "in flight", "open", "memory", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last exit", no_wrap=True)
    for number, row in view.rows:
        table.add_row(*_cells(view, number, row))
    return table


def _cells(view: View, number: int, row: Row) -> list[str | Text]:
    state = words(State(row.state))
    stuck = stuck_sentence(view, row)
    return [
        str(number),
        Text(stuck or state, style="red" if stuck else COLOURS.get(state, "")),
        str(row.pid or "-"),
        ago(time.time() - row.since),
        f"{row.requests:,}",
        str(row.in_flight),
        str(row.connections),
        f"{row.rss / 2**20:.0f} MiB" if row.rss else "-",
        str(row.restarts),
        _last_exit(row),
    ]


def _last_exit(row: Row) -> str:
    if not row.exited_at:
        return "-"
    how = signal_name(row.exit_code) or f"code {row.exit_code}"
    return f"{words(Reason(row.exit_reason))} ({how}) {ago(time.time() - row.exited_at)} ago"


def ago(seconds: float) -> str:
    """A span as people say it, in its one or two largest units: "3 h 12 min"."""
    whole = max(0, int(seconds))
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
