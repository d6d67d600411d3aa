"""The charts of a comparison, one point for each number of workers."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from loadtests.cells import Cell
from loadtests.procfs import CORES
from loadtests.report.drawing import FAINT, FOUR, ONE, THREE, TWO, Mark, drawing, logarithmic
from loadtests.report.summary import Row, Summary


def charts(summary: Summary) -> list[str]:
    drawings: list[Callable[[Summary], str | None]] = [throughput, latency, cpu, memory, shares]
    return [svg for draw in drawings if (svg := draw(summary))]


def throughput(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    if not rows:
        return None
    with drawing(f"{summary.name}-throughput") as picture:
        axes = _by_workers(picture.axes[0], rows)
        _ideal(axes, rows)
        for row in rows:
            _dots(axes, row.workers, [cell.per_second for cell in row.cells], ONE)
            if row.rate.is_known:
                axes.vlines(row.workers, row.rate.low, row.rate.high, color=ONE, lw=2)
        medians = [row.rate.mid for row in rows]
        axes.plot([row.workers for row in rows], medians, "-o", color=ONE, label="measured")
        if rows[-1].workers > CORES:
            axes.axvline(CORES, color=FAINT, ls=":", label=f"{CORES} cores")
        axes.set_ylim(0, 1.15 * max(c.per_second for row in rows for c in row.cells))
        axes.set_ylabel("requests/s")
        return picture.finish(
            "Throughput, as fast as the clients can",
            "; ".join(f"{_workers(row)}: {row.rate.mid:,.0f} requests/s" for row in rows),
            [_mark(row, *_throughput_lines(row)) for row in rows],
        )


def _throughput_lines(row: Row) -> list[str]:
    lines = [f"{row.rate.mid:,.0f} requests/s"]
    if row.rate.is_known:
        lines.append(f"95 %: {row.rate.low:,.0f} to {row.rate.high:,.0f}")
    lines.append(f"repeats: {', '.join(f'{cell.per_second:,.0f}' for cell in row.cells)}")
    return lines


def _ideal(axes: Axes, rows: list[Row]) -> None:
    first, last = rows[0], rows[-1]
    each = first.rate.mid / first.workers
    ends = [first.workers, last.workers]
    axes.plot(ends, [each * n for n in ends], "--", color=FAINT, lw=1, label="each as much as the first")


def latency(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.latency_cells]
    if not rows:
        return None
    figures: list[tuple[int, str, Callable[[Cell], float | None]]] = [
        (50, ONE, lambda cell: cell.latency.p50),
        (95, TWO, lambda cell: cell.latency.p95),
        (99, THREE, lambda cell: cell.latency.p99),
    ]
    told = []
    with drawing(f"{summary.name}-latency") as picture:
        axes = _by_workers(picture.axes[0], rows)
        for share, colour, figure in figures:
            known = [(row.workers, ms) for row in rows if (ms := row.percentile(share)) is not None]
            if known:
                axes.plot(*zip(*known, strict=True), "-o", color=colour, label=f"p{share}")
                told.append(f"p{share} " + ", ".join(f"{ms:.1f} ms with {n}" for n, ms in known))
            for row in rows:
                values = [ms for cell in row.latency_cells if (ms := figure(cell)) is not None]
                _dots(axes, row.workers, values, colour)
        logarithmic(axes)
        axes.set_ylabel("ms, from the schedule")
        return picture.finish(
            f"Latency at {summary.rate:,.0f} requests/s",
            "; ".join(told),
            [_mark(row, *_latency_lines(row)) for row in rows],
        )


def _latency_lines(row: Row) -> list[str]:
    known = [(share, ms) for share in (50, 95, 99) if (ms := row.percentile(share)) is not None]
    return [f"p{share} {ms:.1f} ms" for share, ms in known] or ["too few requests"]


def cpu(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    server = [row.median(lambda cell: cell.server_us) or 0.0 for row in rows]
    generator = [row.median(lambda cell: cell.generator_us) or 0.0 for row in rows]
    if not any(server):  # nor where the server's processes are out of sight
        return None
    with drawing(f"{summary.name}-cpu") as picture:
        axes = _by_workers(picture.axes[0], rows)
        places = [row.workers for row in rows]
        axes.bar(places, server, width=0.6, color=ONE, label="server")
        axes.bar(places, generator, width=0.6, bottom=server, color=FOUR, alpha=0.6, label="Locust")
        axes.set_ylim(0, 1.25 * max(a + b for a, b in zip(server, generator, strict=True)))
        axes.set_ylabel("µs of CPU a request")
        each = list(zip(rows, server, generator, strict=True))
        return picture.finish(
            "CPU a request",
            "; ".join(f"{_workers(row)}: server {a:,.0f} µs, Locust {b:,.0f} µs" for row, a, b in each),
            [_mark(row, f"server {a:,.0f} µs", f"Locust {b:,.0f} µs") for row, a, b in each],
        )


def memory(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    if not any(row.memory_mib for row in rows):
        return None
    with drawing(f"{summary.name}-memory") as picture:
        axes = _by_workers(picture.axes[0], rows)
        marks = []
        for row in rows:
            parts = _parts(row)
            _stack(axes, row, parts, labelled=row is rows[0])
            workers = ", ".join(f"{part:.0f}" for part in parts[1:])
            marks.append(
                _mark(
                    row, f"{row.memory_mib or 0:.0f} MiB", f"master {parts[0]:.0f}", f"each worker {workers}"
                )
            )
        axes.set_ylim(0, 1.25 * max(row.memory_mib or 0 for row in rows))
        axes.set_ylabel("MiB (PSS)")
        return picture.finish(
            "Memory, shared pages divided",
            "; ".join(f"{_workers(row)}: {row.memory_mib or 0:.0f} MiB" for row in rows),
            marks,
        )


def _parts(row: Row) -> list[float]:
    """Returns the MiB of the master and of each worker."""
    found = []
    for number in range(row.workers + 1):
        repeats = [cell.pss_mib[number] for cell in row.cells if number < len(cell.pss_mib)]
        found.append(float(np.median(repeats)) if repeats else 0.0)
    return found


def _stack(axes: Axes, row: Row, parts: list[float], *, labelled: bool) -> None:
    bottom = 0.0
    for number, part in enumerate(parts):
        colour, alpha = (FAINT, 0.5) if number == 0 else (ONE, 1 - 0.3 * (number % 2))
        label = {0: "master", 1: "each worker"}.get(number) if labelled else None
        axes.bar(row.workers, part, width=0.6, bottom=bottom, color=colour, alpha=alpha, label=label)
        bottom += part


def shares(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.workers > 1 and any(cell.shares for cell in row.cells)]
    if not rows:
        return None
    with drawing(f"{summary.name}-shares") as picture:
        axes = _by_workers(picture.axes[0], summary.rows)
        marks = []
        for row in rows:
            fair = 1 / row.workers
            axes.hlines(fair * 100, row.workers - 0.35, row.workers + 0.35, color=FAINT, lw=1)
            values = [share * 100 for cell in row.cells for share in cell.shares]
            steps = [row.workers + 0.5 * (n / max(1, len(values) - 1) - 0.5) for n in range(len(values))]
            axes.plot(steps, values, "o", color=TWO, alpha=0.6, ms=3)
            marks.append(
                _mark(
                    row,
                    f"even: {100 * fair:.0f} % each",
                    f"least {min(values, default=0):.0f} %, most {max(values, default=0):.0f} %",
                )
            )
        axes.set_ylim(0, 100)
        axes.set_ylabel("% of the requests")
        worst = max(max(cell.shares) * row.workers for row in rows for cell in row.cells if cell.shares)
        return picture.finish(
            "Share of each worker, each repeat",
            f"The busiest worker had {worst:.2f} times its share.",
            marks,
        )


def _by_workers(axes: Axes, rows: list[Row]) -> Axes:
    """The same x axis for all charts of a profile, so that one can be read below the other."""
    axes.set_xlabel("workers")
    axes.xaxis.set_major_locator(mpl.ticker.FixedLocator([row.workers for row in rows]))
    axes.set_xlim(rows[0].workers - 0.5, rows[-1].workers + 0.5)
    return axes


def _dots(axes: Axes, workers: int, values: list[float], colour: str) -> None:
    axes.plot([workers] * len(values), values, "o", color=colour, alpha=0.35, ms=4)


def _mark(row: Row, *lines: str) -> Mark:
    return Mark(row.workers - 0.45, row.workers + 0.45, _workers(row), lines)


def _workers(row: Row) -> str:
    return f"{row.workers} worker" + ("s" if row.workers > 1 else "")
