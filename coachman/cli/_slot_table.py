"""The table of `coachman status`: a row for each slot, with the columns that the terminal has room for."""

import time
from collections.abc import Iterator
from typing import Literal

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from coachman.state.readiness import stuck_sentence
from coachman.state.scoreboard import Row
from coachman.state.states import Reason, State, signal_name, words
from coachman.state.view import View

COLOURS = {"ready": "green", "starting": "cyan", "draining": "yellow", "backing-off": "red", "dead": "red"}
HEADINGS = (
    *("slot", "state", "pid", "age", "requests", "in flight", "open"),
    *("memory", "restarts", "last exit", "share"),
)
LEFT_ALIGNED = ("state", "last exit")
ALWAYS_SHOWN = 3  # slot, state and pid, at any width
GAP = 2  # characters between two columns
CROPPED = HEADINGS.index("last exit")
LEAST_CROPPED = 12  # characters of it; with less room it is left out


class SlotTable:
    """The slots of one generation. In a narrow terminal the last columns give way, never the first three."""

    def __init__(self, view: View) -> None:
        self._rows = [_cells(view, number, row) for number, row in view.rows]
        if view.service.requests:  # or the rows would not add up to the line above
            blanks = [""] * (len(HEADINGS) - 5)
            self._rows.append(["", "ended", "", "", f"{view.service.requests:,}", *blanks])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        widths = [
            max(len(heading), *(len(row[column]) for row in self._rows), 0)
            for column, heading in enumerate(HEADINGS)
        ]
        shown = columns_that_fit(widths, options.max_width, CROPPED)
        table = Table(box=None, pad_edge=False, header_style="bold")
        room = options.max_width
        for heading, width in zip(HEADINGS[:shown], widths, strict=False):
            justify: Literal["left", "right"] = "left" if heading in LEFT_ALIGNED else "right"
            # Of fixed widths, or Rich would take from each column what the last one lacks.
            table.add_column(heading, justify=justify, no_wrap=True, width=min(width, room))
            room -= width + GAP
        for row in self._rows:
            table.add_row(*row[:shown])
        yield table


def columns_that_fit(widths: list[int], room: int, cropped: int) -> int:
    """How many columns to show, from the left. Only the column `cropped` may be shown in part."""
    used = 0
    for column, width in enumerate(widths):
        gap = GAP if column else 0
        if used + gap + width > room and column >= ALWAYS_SHOWN:
            is_cropped = column == cropped and room - used - gap >= LEAST_CROPPED
            return column + is_cropped
        used += gap + width
    return len(widths)


def _cells(view: View, number: int, row: Row) -> list[str | Text]:
    state = words(State(row.state))
    stuck = stuck_sentence(view, row)
    works = [f"{row.requests:,}", str(row.in_flight), str(row.connections)] if row.pid else ["-"] * 3
    return [
        str(number),
        Text(stuck or state, style="red" if stuck else COLOURS.get(state, "")),
        str(row.pid or "-"),
        ago(time.time() - row.since),
        *works,
        f"{row.rss / 2**20:.0f} MiB" if row.rss else "-",
        str(row.restarts),
        last_exit(row),
        f"{view.share(row):.0%}" if row.connections else "-",
    ]


def last_exit(row: Row) -> str:
    if not row.exited_at:
        return "-"
    how = signal_name(row.exit_code) or f"code {row.exit_code}"
    return f"{words(Reason(row.exit_reason))} ({how}) {ago(time.time() - row.exited_at)} ago"


def ago(seconds: float) -> str:
    """Returns a span as people say it, in its one or two largest units: "3 h 12 min"."""
    whole = max(0, int(seconds))
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
