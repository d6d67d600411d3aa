"""Draws `coachman top`: lines for a terminal of any size, of which no part moves when a figure grows."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.text import Text

import coachman
from coachman.cli._slot_table import COLOURS, GAP, columns_that_fit, last_exit
from coachman.cli._top_figures import (
    Generation,
    Happening,
    Reading,
    Slot,
    folded,
    generations,
    handover_step,
    total,
)
from coachman.state.readiness import status_line

HEADINGS = (
    *("slot", "state", "pid", "CPU", "in flight"),
    *("req/s", "mean ms", "open", "memory", "restarts", "last exit"),
)
LEFT_ALIGNED = ("state", "CPU", "in flight", "last exit")
LEAST_WIDTHS = (4, 11, 7, 0, 0, 7, 7, 5, 8, 8, 12)  # so that columns stay where they are
CROPPED = HEADINGS.index("last exit")
LEAST_EVENTS = 4  # lines, however many slots there are
BAR_WIDTHS = ((140, 20), (100, 12), (76, 8), (0, 5))  # of a terminal at least so wide
DAY_SECONDS = 20 * 3600  # after which the clock alone could be that of another day
PERCENTILES = ("p50", "p95", "p99")
ERRORS = (("errors", "4xx", "yellow"), ("failures", "5xx", "red"))
SPARKS = " ▁▂▃▄▅▆▇█"
EVENT_COLOURS = {"critical": "red", "error": "red", "warning": "yellow"}


class Screen(NamedTuple):
    """What is drawn."""

    now: Reading
    before: Reading | None  # about a second older
    events: list[dict[str, Any]]  # the newest first
    seconds: list[dict[str, Any]]  # of the history, the newest last
    cpus: int  # that the service may use
    bottom: str  # keys, a question, or what was done

    def lines(self, width: int, height: int) -> list[Text]:
        """Exactly `height` lines of at most `width` characters."""
        found = generations(self.now, self.before)
        lines = [_title(width), *self._sums(found, width)]
        room = height - len(lines) - 2 - LEAST_EVENTS
        for generation in found:
            lines += _table(generation, width, max(3, room // len(found)))
        if step := handover_step(self.now.views):
            lines += [Text(), Text(step, "cyan")]
        lines.append(Text())
        lines += [_event(one) for one in folded(self.events)[: max(0, height - len(lines) - 1)]]
        lines = lines[: height - 1]
        lines += [Text()] * (height - 1 - len(lines)) + [Text(self.bottom, "reverse")]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines

    def _sums(self, found: Sequence[Generation], width: int) -> list[Text]:
        """Of all generations: what the rows below add up to."""
        serving = next((one for one in found if one.view is self.now.speaker), found[0])
        cpu = total([one.cpu for one in found])
        mean = "-" if serving.mean_ms is None else f"{_ms(serving.mean_ms)} ms"
        used = "-" if cpu is None else f"{cpu / 100:.2f}"
        text = (
            f"{_rate(total([one.rate for one in found]))} requests/s, mean {mean},"
            f" {sum(one.in_flight for one in found)} in flight, CPU {used} of {self.cpus}"
        )
        rates = [second["requests"] for second in self.seconds]
        return [Text(text, "bold"), *_of_last_second(self.seconds), Text(_sparkline(rates, width), "green")]


def _title(width: int) -> Text:
    left, right = f"Coachman {coachman.__version__}", time.strftime("%H:%M:%S")
    return Text(f"{left}{right:>{max(1, width - len(left))}}")


def _of_last_second(seconds: Sequence[dict[str, Any]]) -> list[Text]:
    """Percentiles and errors; nothing of a service whose Coachman does not count them."""
    newest = seconds[-1] if seconds else {}
    line = Text(", ").join(
        [
            *(Text(f"{name} {_ms(1000 * newest[name])} ms") for name in PERCENTILES if newest.get(name)),
            *(
                Text(f"{newest[name]:,.1f} {what}/s", colour if newest[name] else "")
                for name, what, colour in ERRORS
                if name in newest
            ),
        ]
    )
    return [line] if line.plain else []


def _sparkline(rates: list[float], width: int) -> str:
    """One character a second; the tallest of them is the most of these seconds."""
    label = f" most {_rate(max(rates, default=0.0))}/s"
    seconds = rates[-min(60, max(0, width - len(label))) :]
    most = max(seconds, default=0.0)
    if not most:
        return ""
    tallest = len(SPARKS) - 1
    steps = [max(1, round(rate / most * tallest)) if rate else 0 for rate in seconds]
    return "".join(SPARKS[step] for step in steps) + label


def _table(generation: Generation, width: int, most_lines: int) -> list[Text]:
    bar = next(size for least, size in BAR_WIDTHS if width >= least)
    scale = max(4, 2 ** (generation.most_in_flight - 1).bit_length()) if generation.most_in_flight else 4
    headings = [*HEADINGS]
    headings[4] = f"in flight, of {scale}" if bar > 5 else "in flight"
    rows = [_cells(slot, bar, scale) for slot in generation.slots]
    widths = [
        max(least, len(heading), *(len(row[column]) for row in rows), 0)
        for column, (heading, least) in enumerate(zip(headings, LEAST_WIDTHS, strict=True))
    ]
    shown = columns_that_fit(widths, width, CROPPED)
    view = generation.view
    style = {"ready": "green", "handed-over": "yellow"}.get(view.status, "red")
    lines = [Text(), Text.assemble((f"Master {view.service.pid}: ", "bold"), (status_line(view), style))]
    lines.append(_aligned([Text(heading, "bold") for heading in headings[:shown]], widths))
    room = most_lines - len(lines)
    hidden = len(rows) - room if len(rows) > room else 0
    lines += [_aligned(row[:shown], widths) for row in (rows[: room - 1] if hidden else rows)]
    if hidden:
        lines.append(Text(f"... and {hidden + 1} more: a taller window shows them"))
    return lines


def _aligned(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for column, cell in enumerate(cells):
        blank = " " * (widths[column] - len(cell))
        line.append(" " * GAP if column else "")
        if HEADINGS[column] in LEFT_ALIGNED:
            line.append_text(cell).append(blank)
        else:
            line.append(blank).append_text(cell)
    return line


def _cells(slot: Slot, bar: int, scale: int) -> list[Text]:
    row = slot.row
    colour = "red" if slot.state.startswith("stuck") else COLOURS.get(slot.state, "")
    return [
        Text(str(slot.number)),
        Text(slot.state, colour),
        Text(str(row.pid or "-")),
        _bar(slot.cpu, 100, bar, "%", _warning_colour(slot.cpu or 0)),
        _bar(slot.in_flight, scale, bar, "", "cyan"),
        Text(_rate(slot.rate)),
        Text(_ms(slot.mean_ms)),
        Text(str(row.connections) if row.pid else "-"),
        Text(f"{row.rss / 2**20:.0f} MiB" if row.rss else "-"),
        Text(str(row.restarts)),
        Text(last_exit(row)),
    ]


def _bar(value: int | None, whole: int, width: int, unit: str, colour: str) -> Text:
    if value is None:
        return Text(f"[{' ' * width}]    -{' ' * len(unit)}")
    filled = min(width, -(-value * width // whole))  # any work at all is seen
    return Text.assemble("[", ("|" * filled, colour), " " * (width - filled), f"] {value:4}{unit}")


def _warning_colour(percent: int) -> str:
    """A worker has one event loop, which is full at 100 % of one CPU."""
    return "red" if percent > 90 else "yellow" if percent > 60 else "green"


def _rate(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate == round(rate) else f"{rate:,.1f}"


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:,.1f}"


def _event(happening: Happening) -> Text:
    event, times = happening
    is_old = time.time() - event["time"] > DAY_SECONDS
    moment = time.strftime("%d %b   " if is_old else "%H:%M:%S", time.localtime(event["time"]))
    repeated = f"{times} times: " if times > 1 else ""
    colour = EVENT_COLOURS.get(event.get("level", ""), "")
    why = f"{event['why']}: " if event.get("why") else ""
    return Text.assemble(f"{moment}  ", (f"{repeated}{why}{event.get('message', '')}", colour))
