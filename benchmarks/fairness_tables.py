"""From the runs of fairness.py to its tables, and whether the aims hold. Pure."""

import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

from contenders import CONTENDERS, OURS
from fairness_grid import CORES, ROUTES_100, TRIVIAL, Cell

ALONE = "alone"  # one worker of ours, with all cores to itself
UNEVEN = 1.15  # times an even share
OFTEN = 0.95  # of the runs
MOST_WITH_AS_MANY = 0.5  # the largest share with as many connections as workers: 3
KEPT = 0.95  # of what workers would do alone
AHEAD = 1.3  # times the best peer


class Run(NamedTuple):
    largest_share: float  # of the requests: from 1 / workers, which is even, to 1
    largest_part: float  # of the connections
    per_second: float
    p99_ms: float
    cpu_us: float  # a request, of all the server's processes


Runs = dict[tuple[Cell, str], list[Run]]


class Finding(NamedTuple):
    """One aim: what was found, and whether it holds."""

    aim: str
    found: str
    holds: bool


def text_of(runs: Runs, servers: list[str]) -> str:
    """Of the lines that all servers have been asked for: a run may have been stopped."""
    cells = sorted(
        {cell for cell, name in runs if name != ALONE and all((cell, one) in runs for one in servers)}
    )
    runs = {(cell, name): found for (cell, name), found in runs.items() if name == ALONE or cell in cells}
    return "\n\n".join(
        [
            "The largest share: median / worst of the runs.",
            _table(runs, servers, cells, _share),
            "Requests/s, and p99 in milliseconds: medians.",
            _table(runs, servers, cells, _speed),
            "Whether the aims hold:",
            _findings(findings(runs, servers)),
        ]
    )


def _table(runs: Runs, servers: list[str], cells: list[Cell], shown: Callable[[list[Run]], str]) -> str:
    titles = {contender.name: contender.title for contender in CONTENDERS}
    heads = ["route", "workers", "connections", *(titles[name] for name in servers)]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for cell in cells:
        found = [shown(runs[cell, name]) if (cell, name) in runs else "-" for name in servers]
        lines.append(f"| {' | '.join([cell.route, str(cell.workers), str(cell.clients), *found])} |")
    return "\n".join(lines)


def _share(runs: list[Run]) -> str:
    shares = [run.largest_share for run in runs]
    return f"{statistics.median(shares):.2f} / {max(shares):.2f}"


def _speed(runs: list[Run]) -> str:
    return f"{_median_rate(runs):,.0f}; {statistics.median(run.p99_ms for run in runs):,.1f}"


def _findings(found: list[Finding]) -> str:
    lines = ["| aim | found | |", "| --- | --- | --- |"]
    lines += [f"| {one.aim} | {one.found} | {'holds' if one.holds else 'FAILS'} |" for one in found]
    return "\n".join(lines)


def findings(runs: Runs, servers: list[str]) -> list[Finding]:
    peers = [name for name in servers if name != OURS]
    return [*_evenness(runs, peers), *_as_many(runs, peers), *_kept(runs), *_ahead(runs, peers)]


def _evenness(runs: Runs, peers: list[str]) -> Iterator[Finding]:
    cells = [
        cell
        for cell, name in runs
        if name == OURS and cell.route in (TRIVIAL, ROUTES_100) and cell.clients >= 2 * cell.workers > 2
    ]
    if not cells:
        return
    even = {name: [_even_part(runs[cell, name], cell.workers) for cell in cells] for name in (OURS, *peers)}
    worst = min(even[OURS])
    beside = ", ".join(f"{_title(name)} in {sum(part >= OFTEN for part in even[name])}" for name in peers)
    parts = max(run.largest_part * cell.workers for cell in cells for run in runs[cell, OURS])
    yield Finding(
        f"largest share at most {UNEVEN:g} / workers in {OFTEN:.0%} of the runs, "
        "with two connections and more for each worker",
        f"in {sum(part >= OFTEN for part in even[OURS])} of {len(cells)} lines, "
        f"in {worst:.0%} of the runs of the worst one ({beside or 'no peers'}); "
        f"no worker ever had more than {parts:.2f} times its share of the connections",
        worst >= OFTEN,
    )


def _even_part(runs: list[Run], workers: int) -> float:
    return sum(run.largest_share <= UNEVEN / workers for run in runs) / len(runs)


def _as_many(runs: Runs, peers: list[str]) -> Iterator[Finding]:
    worst = {
        name: max(
            run.largest_share
            for (cell, who), found in runs.items()
            for run in found
            if _is_three(cell, who, name)
        )
        for name in (OURS, *peers)
        if any(_is_three(cell, who, name) for cell, who in runs)
    }
    if OURS in worst:
        beside = ", ".join(f"{_title(name)} {worst[name]:.2f}" for name in peers)
        yield Finding(
            f"largest share never above {MOST_WITH_AS_MANY:g} with 3 connections on 3 workers",
            f"{worst[OURS]:.2f} at most ({beside or 'no peers'})",
            worst[OURS] <= MOST_WITH_AS_MANY,
        )


def _is_three(cell: Cell, who: str, name: str) -> bool:
    return who == name and cell.workers == cell.clients == 3


def _kept(runs: Runs) -> Iterator[Finding]:
    """By CPU: the generator has no core of its own, and takes from many workers what it leaves to one."""
    for (cell, name), alone in runs.items():
        together = runs.get((cell._replace(workers=CORES, clients=6 * CORES), OURS))
        if name == ALONE and together:
            each, each_alone = _mean_cpu(together), _mean_cpu(alone)
            kept = each_alone / each
            yield Finding(
                f"{CORES} workers with {6 * CORES} connections do {KEPT:g} of what each would alone, "
                f"by CPU: {cell.route}",
                f"{kept:.2f}: {each:,.0f} µs a request, alone {each_alone:,.0f} µs",
                kept >= KEPT,
            )


def _ahead(runs: Runs, peers: list[str]) -> Iterator[Finding]:
    for (cell, name), ours in runs.items():
        if name != OURS or cell.workers != CORES or cell.clients not in (3, 6) or not peers:
            continue
        rates = {peer: _median_rate(runs[cell, peer]) for peer in peers}
        best = max(rates, key=lambda peer: rates[peer])
        ratio = _median_rate(ours) / rates[best]
        yield Finding(
            f"{CORES} workers with {cell.clients} connections do {AHEAD:g} times what the best peer does: "
            f"{cell.route}",
            f"{ratio:.2f} times {_title(best)}",
            ratio >= AHEAD,
        )


def _median_rate(runs: list[Run]) -> float:
    return statistics.median(run.per_second for run in runs)


def _mean_cpu(runs: list[Run]) -> float:
    """Of all runs: in one, the steps of 10 ms that the kernel counts CPU in are too large to tell."""
    return statistics.fmean(run.cpu_us for run in runs)


def _title(name: str) -> str:
    return next(contender.title for contender in CONTENDERS if contender.name == name)
