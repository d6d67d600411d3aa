"""From cells to the figures of a page: by profile and number of workers."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from loadtests import flags
from loadtests.cells import Cell, Phase
from loadtests.fits import Ceiling, Scalability, fit_ceiling, fit_scalability
from loadtests.intervals import Interval, interval, paired_ratio
from loadtests.plan import PROFILES, Plan
from loadtests.recommend import Answer, Measured, Requirements, recommend
from loadtests.report.wording import in_unit
from loadtests.samples import percentile_of


@dataclass
class RouteRow:
    """The requests of one route, those of all repeats together."""

    name: str
    requests: int = 0
    failed: int = 0
    counts: Counter[int] = field(default_factory=Counter)  # by latency

    def percentile(self, share: float) -> float | None:
        return percentile_of(self.counts, share)


@dataclass(frozen=True)
class Row:
    """One number of workers. Figures come from accepted cells alone."""

    workers: int
    cells: list[Cell]  # capacity, accepted
    latency_cells: list[Cell]
    dirty: list[Cell]
    rate: Interval
    to_least: Interval | None  # against the smallest number of workers, by block

    def median(self, figure: Callable[[Cell], float | None], *, phase: Phase = "capacity") -> float | None:
        cells = self.cells if phase == "capacity" else self.latency_cells
        values = [value for cell in cells if (value := figure(cell)) is not None]
        return float(np.median(values)) if values else None

    def percentile(self, share: float) -> float | None:
        """Returns the percentile in ms of all requests of the open loop, those of all repeats together."""
        if routes := self.routes:
            return percentile_of(sum((route.counts for route in routes), Counter()), share)
        figure = f"p{share:g}"  # of runs of older versions, which have no counts
        return self.median(lambda cell: getattr(cell.latency, figure), phase="latency")

    @property
    def routes(self) -> list["RouteRow"]:
        """Returns the routes of the open loop, the busiest first."""
        found: dict[str, RouteRow] = {}
        for cell in self.latency_cells:
            for name, route in cell.routes.items():
                row = found.setdefault(name, RouteRow(name))
                row.requests += route.requests
                row.failed += route.failed
                row.counts.update(route.buckets)
        return sorted(found.values(), key=lambda row: -row.requests)

    @property
    def failures(self) -> Counter[str]:
        """Returns the failures of all measurements, disturbed or not."""
        found: Counter[str] = Counter()
        for cell in (*self.cells, *self.latency_cells, *self.dirty):
            found.update(cell.failures)
            found.update({"unfinished": cell.unfinished} if cell.unfinished else {})
        return found

    @property
    def flags(self) -> Counter[str]:
        return Counter(
            flag for cell in (*self.cells, *self.latency_cells, *self.dirty) for flag in cell.flags
        )

    @property
    def generator_share(self) -> float | None:
        """Returns Locust's share of the CPU that both used, where it was large in most repeats."""
        large = [cell for cell in self.cells if flags.GENERATOR_SHARE in cell.flags]
        if 2 * len(large) <= len(self.cells):
            return None
        return float(np.median([c.generator_cores / (c.generator_cores + c.server_cores) for c in large]))

    @property
    def memory_mib(self) -> float | None:
        return self.median(lambda cell: sum(cell.pss_mib) or None)


@dataclass(frozen=True)
class Summary:
    name: str
    title: str
    rows: list[Row]
    rate: float | None  # of the open loop
    answer: Answer
    ceiling: Ceiling | None
    law: Scalability | None


def summarise(plan: Plan, cells: list[Cell]) -> list[Summary]:
    summaries = (_summary(name, plan, [c for c in cells if c.task.profile == name]) for name in plan.profiles)
    return [summary for summary in summaries if summary.rows]


def _summary(name: str, plan: Plan, cells: list[Cell]) -> Summary:
    rows = _rows(cells)
    measured = {row.workers: _measured(row) for row in rows}
    required = Requirements(plan.within, plan.p99_ms, plan.memory_mib, plan.rate, plan.crash_margin)
    answer = recommend(measured, required)
    clean = [cell for row in rows for cell in row.cells]
    points = [cell.task.workers for cell in clean], [cell.per_second for cell in clean]
    honest = clean and not any(flags.GENERATOR_LIMITED in cell.flags for cell in clean)
    return Summary(
        name=name,
        title=PROFILES[name].title,
        rows=rows,
        rate=next((cell.rate for cell in cells if cell.rate), None),
        answer=replace(answer, sentence=in_unit(answer.sentence, plan.unit)),
        ceiling=fit_ceiling(*points) if honest else None,
        law=fit_scalability(*points) if honest else None,
    )


def _rows(cells: list[Cell]) -> list[Row]:
    by_workers = {
        n: [c for c in cells if c.task.workers == n] for n in sorted({c.task.workers for c in cells})
    }
    least = _rates(next(iter(by_workers.values()), []))
    return [_row(n, mine, least) for n, mine in by_workers.items()]


def _row(workers: int, cells: list[Cell], least: dict[int, float]) -> Row:
    rates = _rates(cells)
    return Row(
        workers,
        list(_accepted(cells, "capacity")),
        list(_accepted(cells, "latency")),
        [cell for cell in cells if not cell.accepted],
        interval(list(rates.values())),
        None if rates == least else paired_ratio(rates, least),
    )


def _accepted(cells: Iterable[Cell], phase: Phase) -> Iterable[Cell]:
    return (cell for cell in cells if cell.accepted and cell.task.phase == phase)


def _rates(cells: Iterable[Cell]) -> dict[int, float]:
    return {cell.task.block: cell.per_second for cell in _accepted(cells, "capacity")}


def _is_of_the_generator(cell: Cell) -> bool:
    """Whether the throughput is Locust's: it used up its core, or the cores that both share, most of them."""
    costs_more = cell.generator_cores > cell.server_cores
    return flags.GENERATOR_LIMITED in cell.flags or (flags.GENERATOR_SHARE in cell.flags and costs_more)


def _measured(row: Row) -> Measured:
    limits = sum(_is_of_the_generator(cell) for cell in row.cells)
    behind = sum(flags.BEHIND in cell.flags for cell in row.latency_cells)
    repeated = {cell.task for cell in (*row.cells, *row.latency_cells)}
    return Measured(
        rates=_rates(row.cells),
        p99_ms={c.task.block: c.latency.p99 for c in row.latency_cells if c.latency.p99 is not None},
        memory_mib=row.memory_mib or 0.0,
        dirty=len({cell.task for cell in row.dirty if cell.task.phase == "capacity"} - repeated),
        failures=sum(row.failures.values()),
        generator_limited=limits * 2 > len(row.cells),
        behind=behind * 2 > len(row.latency_cells),
    )
