"""The same figures for spreadsheets and for pull requests."""

import csv
import io
from collections.abc import Iterable

from loadtests.cells import Cell
from loadtests.intervals import Interval, unpaired_ratio
from loadtests.report.summary import Row, Summary

HEADINGS = (
    "workers",
    "repeats",
    "requests/s",
    "95 %",
    "ratio to the first, paired",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "CPU µs",
    "Locust µs",
    "MiB",
)


PERCENTILES = (50, 95, 99)
ROUTE_HEADINGS = ("workers", "requests", "failed", "p50 ms", "p95 ms", "p99 ms")


def by_route(summary: Summary) -> dict[str, list[list[str]]]:
    """Returns a line under ROUTE_HEADINGS for each number of workers, by route."""
    found: dict[str, list[list[str]]] = {}
    for row in summary.rows:
        for route in row.routes:
            percentiles = [number(route.percentile(share), 1) for share in PERCENTILES]
            line = [str(row.workers), number(route.requests), number(route.failed), *percentiles]
            found.setdefault(route.name, []).append(line)
    return found


def repeats_of(summary: Summary) -> list[list[str]]:
    """Returns a line for each block: the throughput of each number of workers, "-" where it has none."""
    rates = [{cell.task.block: cell.per_second for cell in row.cells} for row in summary.rows]
    blocks = sorted(set().union(*rates))
    return [[str(block + 1), *(number(found.get(block)) for found in rates)] for block in blocks]


def cells_of(row: Row) -> list[str]:
    """One line under HEADINGS, as people read it."""
    return [
        str(row.workers),
        str(len(row.cells)),
        number(row.rate.mid if row.cells else None),
        bounds(row.rate, "{:,.0f}"),
        "" if row.to_least is None else f"{row.to_least.mid:.2f} ({bounds(row.to_least, '{:.2f}')})",
        *(number(row.percentile(share), 1) for share in PERCENTILES),
        number(row.median(lambda cell: cell.server_us)),
        number(row.median(lambda cell: cell.generator_us)),
        number(row.memory_mib),
    ]


def notes_of(row: Row) -> str:
    """Returns the reservations about the line, failures first."""
    failures = [f"{count} {kind}" for kind, count in row.failures.most_common()]
    flags = [f"{flag} ({count})" for flag, count in row.flags.most_common() if flag != "failures"]
    return "; ".join(failures + flags)


def markdown(summaries: Iterable[Summary]) -> str:
    parts = []
    for summary in summaries:
        lines = [f"## {summary.title}", "", f"**{summary.answer.sentence}**", ""]
        lines += [f"| {' | '.join((*HEADINGS, 'notes'))} |", "|" + " ---: |" * len(HEADINGS) + " --- |"]
        lines += [f"| {' | '.join((*cells_of(row), notes_of(row)))} |" for row in summary.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def comma_separated(summaries: Iterable[Summary]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("profile", *HEADINGS, "notes"))
    for summary in summaries:
        writer.writerows((summary.name, *cells_of(row), notes_of(row)) for row in summary.rows)
    return out.getvalue()


def against(summaries: Iterable[Summary], baseline: Iterable[Summary]) -> list[tuple[str, int, str, str]]:
    """Profile, workers, ratio to the baseline and what it says; where both were measured."""
    before = {(summary.name, row.workers): row for summary in baseline for row in summary.rows}
    lines = []
    for summary in summaries:
        for row in summary.rows:
            if old := before.get((summary.name, row.workers)):
                ratio = unpaired_ratio(_rates(row.cells), _rates(old.cells))
                lines.append(
                    (summary.title, row.workers, f"{ratio.mid:.2f} ({bounds(ratio, '{:.2f}')})", _says(ratio))
                )
    return lines


def _rates(cells: Iterable[Cell]) -> list[float]:
    return [cell.per_second for cell in cells]


def _says(ratio: Interval) -> str:
    if not ratio.is_known:
        return "too few repeats"
    if ratio.low <= 1 <= ratio.high:
        return f"no difference to be seen (it would have to be {ratio.width:.0%})"
    return "faster" if ratio.low > 1 else "slower"


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def bounds(one: Interval, form: str) -> str:
    return f"{form.format(one.low)} to {form.format(one.high)}" if one.is_known else "too few repeats"
