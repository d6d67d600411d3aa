"""The page of a drill: who was killed when, and what the clients saw."""

import json
import shlex
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from loadtests.compare import read_description
from loadtests.drill import Drill
from loadtests.report.charts import FAINT, ONE, THREE, TWO, drawing, logarithmic
from loadtests.report.page import TEMPLATES
from loadtests.samples import Floats, Samples

BAR_SECONDS, DOT_SECONDS = 0.1, 0.02
WIDE, LOW = (10.5, 2.6), (10.5, 3.0)


def write_drill_report(folder: Path) -> Drill:
    """Writes report.html beside the requests."""
    drill = Drill.model_validate_json((folder / "drill.json").read_text())
    facts = read_description(folder)
    samples = Samples.read(folder / "requests.bin", **json.loads((folder / "requests.json").read_text()))
    page = TEMPLATES.get_template("drill.html.j2").render(
        facts=facts,
        drill=drill,
        plan=drill.plan,
        ready=float(np.median([kill.ready_ms for kill in drill.kills])) if drill.kills else 0.0,
        lost=sum(drill.failures.values()),
        p99=float(np.percentile(samples.latency_ms(), 99)) if len(samples.answered) else None,
        charts=[_timeline(drill, samples), _latency(drill, samples)] if len(samples) else [],
        command=shlex.join(facts["command"]),
    )
    (folder / "report.html").write_text(page)
    return drill


def _timeline(drill: Drill, samples: Samples) -> str:
    edges = np.arange(0, drill.end - drill.begin + BAR_SECONDS, BAR_SECONDS)
    # A failure stands where it failed, not where it fell due.
    ends = samples.rows["end"] - drill.begin
    failed = samples.rows["kind"] != 0
    answered, _ = np.histogram(ends[~failed], edges)
    lost, _ = np.histogram(ends[failed], edges)
    with drawing("drill-timeline", WIDE) as (axes, finish):
        _mark(axes, drill)
        axes.bar(edges[:-1], answered, BAR_SECONDS, align="edge", color=ONE, alpha=0.8, label="answered")
        axes.bar(edges[:-1], lost, BAR_SECONDS, bottom=answered, align="edge", color=THREE, label="failed")
        axes.set_ylabel("requests in 100 ms")
        axes.set_ylim(0, 1.2 * max(1, int((answered + lost).max())))
        _time(axes, drill)
        return finish("Answered and failed", f"{int(lost.sum())} of {len(samples)} requests failed.")


def _latency(drill: Drill, samples: Samples) -> str:
    ok = samples.answered
    times, values = _slowest(ok["due"] - drill.begin, samples.latency_ms())
    lost = samples.rows[samples.rows["kind"] != 0]
    with drawing("drill-latency", LOW) as (axes, finish):
        _mark(axes, drill)
        axes.plot(times, values, ".", color=ONE, ms=3, alpha=0.7, label="slowest of each 20 ms")
        if len(lost):
            waited = np.maximum((lost["end"] - lost["due"]) * 1000, 0.1)
            axes.plot(lost["end"] - drill.begin, waited, "x", color=THREE, ms=5, label="failed")
        logarithmic(axes)
        axes.set_ylabel("ms, from the schedule")
        _time(axes, drill)
        slowest = float(values.max()) if len(values) else 0.0
        return finish("Latency", f"The slowest answer took {slowest:.0f} ms.")


def _slowest(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """One dot for each 20 ms keeps the page small and hides no slow answer."""
    order = np.lexsort((-values, (times / DOT_SECONDS).astype(int)))
    _, first = np.unique((times[order] / DOT_SECONDS).astype(int), return_index=True)
    kept = order[first]
    return times[kept], values[kept]


def _mark(axes: Axes, drill: Drill) -> None:
    for number, kill in enumerate(drill.kills):
        at, ready = kill.killed_at - drill.begin, kill.ready_at - drill.begin
        label = None if number else "until the next is ready"
        axes.axvspan(at, ready, color=TWO, alpha=0.18, lw=0, label=label)
        axes.axvline(at, color=FAINT, ls="--", lw=1)
        axes.annotate(
            f"{kill.signal.removeprefix('SIG')} {kill.ready_ms:.0f} ms", (at, 1),
            xycoords=("data", "axes fraction"), xytext=(3, -10),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip


def _time(axes: Axes, drill: Drill) -> None:
    axes.set_xlim(0, drill.end - drill.begin)
    axes.set_xlabel("seconds")
