"""Charts as SVG inside the page. Colours are the page's own, so that they follow light and dark."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.cells import Cell
from loadtests.procfs import CORES
from loadtests.report.summary import Row, Summary

# Stand-ins, put in the page's variables afterwards: matplotlib knows no CSS.
INK, FAINT, ONE, TWO, THREE, FOUR = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES = {INK: "ink", FAINT: "faint", ONE: "c1", TWO: "c2", THREE: "c3", FOUR: "c4"}
SIZE = (4.4, 2.9)  # inches; the page shows them at most that wide, so that letters keep their size

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def charts(summary: Summary) -> list[str]:
    drawings: list[Callable[[Summary], str | None]] = [throughput, latency, cpu, memory, shares]
    return [svg for draw in drawings if (svg := draw(summary))]


def throughput(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    if not rows:
        return None
    with drawing(f"{summary.name}-throughput") as (axes, finish):
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
        return finish(
            "Throughput, as fast as the clients can",
            "; ".join(f"{_workers(row)}: {row.rate.mid:,.0f} requests/s" for row in rows),
        )


def _ideal(axes: Axes, rows: list[Row]) -> None:
    first, last = rows[0], rows[-1]
    each = first.rate.mid / first.workers
    ends = [first.workers, last.workers]
    axes.plot(ends, [each * n for n in ends], "--", color=FAINT, lw=1, label="each as much as the first")


def latency(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.latency_cells]
    if not rows:
        return None
    figures: list[tuple[str, str, Callable[[Cell], float | None]]] = [
        ("p50", ONE, lambda cell: cell.latency.p50),
        ("p95", TWO, lambda cell: cell.latency.p95),
        ("p99", THREE, lambda cell: cell.latency.p99),
    ]
    told = []
    with drawing(f"{summary.name}-latency") as (axes, finish):
        for name, colour, figure in figures:
            known = [(row.workers, ms) for row in rows if (ms := row.median(figure, phase="latency"))]
            if known:
                axes.plot(*zip(*known, strict=True), "-o", color=colour, label=name)
                told.append(f"{name} " + ", ".join(f"{ms:.1f} ms with {n}" for n, ms in known))
            for row in rows:
                values = [ms for cell in row.latency_cells if (ms := figure(cell)) is not None]
                _dots(axes, row.workers, values, colour)
        logarithmic(axes)
        axes.set_ylabel("ms, from the schedule")
        return finish(f"Latency at {summary.rate:,.0f} requests/s", "; ".join(told))


def logarithmic(axes: Axes) -> None:
    """Plain numbers on the y axis."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda ms, _: f"{ms:,g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.FuncFormatter(_two_or_five))
    axes.tick_params(axis="y", which="minor", labelsize=8)


def _two_or_five(ms: float, _: int) -> str:
    """Between the powers of ten a logarithmic axis has 20 and 50; more would run into each other."""
    return f"{ms:,g}" if f"{ms:e}"[0] in "25" else ""


def cpu(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    server = [row.median(lambda cell: cell.server_us) or 0.0 for row in rows]
    generator = [row.median(lambda cell: cell.generator_us) or 0.0 for row in rows]
    if not rows:
        return None
    with drawing(f"{summary.name}-cpu") as (axes, finish):
        places = [row.workers for row in rows]
        axes.bar(places, server, width=0.6, color=ONE, label="server")
        axes.bar(places, generator, width=0.6, bottom=server, color=FOUR, alpha=0.6, label="Locust")
        axes.set_ylim(0, 1.25 * max(a + b for a, b in zip(server, generator, strict=True)))
        axes.set_ylabel("µs of CPU a request")
        return finish(
            "CPU a request",
            "; ".join(
                f"{_workers(row)}: server {a:,.0f} µs, Locust {b:,.0f} µs"
                for row, a, b in zip(rows, server, generator, strict=True)
            ),
        )


def memory(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.cells]
    if not rows:
        return None
    with drawing(f"{summary.name}-memory") as (axes, finish):
        for row in rows:
            _stack(axes, row, labelled=row is rows[0])
        axes.set_ylim(0, 1.25 * max(row.memory_mib or 0 for row in rows))
        axes.set_ylabel("MiB (PSS)")
        return finish(
            "Memory, shared pages divided",
            "; ".join(f"{_workers(row)}: {row.memory_mib or 0:.0f} MiB" for row in rows),
        )


def _stack(axes: Axes, row: Row, *, labelled: bool) -> None:
    bottom = 0.0
    for number in range(row.workers + 1):
        parts = [cell.pss_mib[number] for cell in row.cells if number < len(cell.pss_mib)]
        part = float(np.median(parts)) if parts else 0.0
        colour, alpha = (FAINT, 0.5) if number == 0 else (ONE, 1 - 0.3 * (number % 2))
        label = {0: "master", 1: "each worker"}.get(number) if labelled else None
        axes.bar(row.workers, part, width=0.6, bottom=bottom, color=colour, alpha=alpha, label=label)
        bottom += part


def shares(summary: Summary) -> str | None:
    rows = [row for row in summary.rows if row.workers > 1 and any(cell.shares for cell in row.cells)]
    if not rows:
        return None
    with drawing(f"{summary.name}-shares") as (axes, finish):
        for row in rows:
            fair = 1 / row.workers
            axes.hlines(fair * 100, row.workers - 0.35, row.workers + 0.35, color=FAINT, lw=1)
            values = [share * 100 for cell in row.cells for share in cell.shares]
            steps = [row.workers + 0.5 * (n / max(1, len(values) - 1) - 0.5) for n in range(len(values))]
            axes.plot(steps, values, "o", color=TWO, alpha=0.6, ms=3)
        axes.set_ylim(0, 100)
        axes.set_ylabel("% of the requests")
        worst = max(max(cell.shares) * row.workers for row in rows for cell in row.cells if cell.shares)
        return finish(
            "Share of each worker, each repeat", f"The busiest worker had {worst:.2f} times its share."
        )


@contextmanager
def drawing(name: str, size: tuple[float, float] = SIZE) -> Iterator[tuple[Axes, Callable[[str, str], str]]]:
    """Returns axes to draw on, and a function that makes an SVG of them, with a title and a description."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()

        def finish(title: str, told: str) -> str:
            _dress(axes)
            svg = _svg(figure, f"{title}. {told}", name)
            return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"

        yield axes, finish


def _dress(axes: Axes) -> None:
    if not axes.get_xlabel():
        axes.set_xlabel("workers")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, handlelength=1.5, columnspacing=1)


def _svg(figure: Figure, told: str, name: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Ids are counted anew in each drawing ("axes_1"); in one page they would be double.
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg.replace("\n", " "), count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, f"var(--{variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(told)}" ', 1)


def _dots(axes: Axes, workers: int, values: list[float], colour: str) -> None:
    axes.plot([workers] * len(values), values, "o", color=colour, alpha=0.35, ms=4)


def _workers(row: Row) -> str:
    return f"{row.workers} worker" + ("s" if row.workers > 1 else "")
