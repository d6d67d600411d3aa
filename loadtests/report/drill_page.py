"""The page of a drill: who was killed when, and what the clients saw."""

import json
import shlex
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from loadtests.compare import read_description
from loadtests.drill import Drill
from loadtests.losses import Kill
from loadtests.report.drawing import FAINT, ONE, THREE, TWO, Drawing, Mark, drawing, logarithmic
from loadtests.report.page import TEMPLATES
from loadtests.samples import Floats, Samples

BAR_SECONDS, DOT_SECONDS = 0.1, 0.02
WIDE, NARROW = (10.5, 5.2), (4.4, 5.2)  # inches; the page shows the one that fits


def write_drill_report(folder: Path) -> Drill:
    """Writes report.html beside the requests."""
    drill = Drill.model_validate_json((folder / "drill.json").read_text())
    facts = read_description(folder)
    samples = Samples.read(folder / "requests.bin", **json.loads((folder / "requests.json").read_text()))
    lost = sum(drill.failures.values())
    page = TEMPLATES.get_template("drill.html.j2").render(
        facts=facts,
        drill=drill,
        plan=drill.plan,
        ready=float(np.median([kill.ready_ms for kill in drill.kills])) if drill.kills else 0.0,
        lost=lost,
        lost_in=_lost_in(drill.kills, lost),
        p99=float(np.percentile(samples.latency_ms(), 99)) if len(samples.answered) else None,
        wide=_picture("wide", WIDE, drill, samples) if len(samples) else "",
        narrow=_picture("narrow", NARROW, drill, samples) if len(samples) else "",
        command=shlex.join(facts["command"]),
    )
    (folder / "report.html").write_text(page)
    return drill


def _lost_in(kills: list[Kill], lost: int) -> str:
    """Words the losses by their cause: a hang costs more than a crash. Empty where kills overlap."""
    hangs = [kill for kill in kills if kill.signal == "SIGSTOP"]
    crashes = [kill for kill in kills if kill.signal != "SIGSTOP"]
    if not lost or sum(kill.lost for kill in kills) != lost:
        return ""
    parts = []
    if crashes:
        what = "crash" if len(crashes) == 1 else "crashes"
        parts.append(f"{sum(kill.lost for kill in crashes):,} in {len(crashes)} {what}")
    if hangs:
        longest = max(kill.reaped_ms for kill in hangs) / 1000
        what = (
            f"one hang of {longest:.0f} s"
            if len(hangs) == 1
            else f"{len(hangs)} hangs of up to {longest:.0f} s"
        )
        parts.append(f"{sum(kill.lost for kill in hangs):,} in {what}")
    return ", ".join(parts)


def _picture(name: str, size: tuple[float, float], drill: Drill, samples: Samples) -> str:
    """Both charts in one figure: a moment stands above itself."""
    with drawing(f"drill-{name}", size, heights=(1, 1.15)) as picture:
        above, below = picture.axes
        for axes in picture.axes:
            _mark_kills(axes, drill, times=name == "wide", labelled=axes is above)
        lost = _draw_outcomes(above, drill, samples)
        slowest = _draw_latency(below, drill, samples)
        below.set_xlim(0, drill.end - drill.begin)
        below.set_xlabel("seconds")
        return _finish(picture, drill, samples, lost, slowest)


def _finish(picture: Drawing, drill: Drill, samples: Samples, lost: int, slowest: float) -> str:
    return picture.finish(
        "Requests, and how long they took",
        f"{lost} of {len(samples)} requests failed. The slowest answer took {slowest:.0f} ms.",
        [_second(second, drill, samples) for second in range(int(drill.end - drill.begin))],
    )


def _second(second: int, drill: Drill, samples: Samples) -> Mark:
    rows = samples.rows[np.floor(samples.rows["end"] - drill.begin) == second]
    answered = rows[rows["kind"] == 0]
    lines = [f"{len(answered):,} answered, {len(rows) - len(answered):,} failed"]
    if len(answered):
        lines.append(f"slowest {1000 * float((answered['end'] - answered['due']).max()):,.0f} ms")
    lines += [
        f"{kill.signal} to worker {kill.pid}: next ready after {kill.ready_ms:,.0f} ms, {kill.lost:,} lost"
        for kill in drill.kills
        if int(kill.killed_at - drill.begin) == second
    ]
    return Mark(second, second + 1, f"Second {second + 1}", lines)


def _draw_outcomes(axes: Axes, drill: Drill, samples: Samples) -> int:
    edges = np.arange(0, drill.end - drill.begin + BAR_SECONDS, BAR_SECONDS)
    # A failure stands where it failed, not where it fell due.
    ends = samples.rows["end"] - drill.begin
    failed = samples.rows["kind"] != 0
    answered, _ = np.histogram(ends[~failed], edges)
    lost, _ = np.histogram(ends[failed], edges)
    axes.bar(edges[:-1], answered, BAR_SECONDS, align="edge", color=ONE, alpha=0.8, label="answered")
    axes.bar(edges[:-1], lost, BAR_SECONDS, bottom=answered, align="edge", color=THREE, label="failed")
    axes.set_ylabel("requests in 100 ms")
    axes.set_ylim(0, 1.2 * max(1, int((answered + lost).max())))
    return int(lost.sum())


def _draw_latency(axes: Axes, drill: Drill, samples: Samples) -> float:
    ok = samples.answered
    times, values = _slowest(ok["end"] - drill.begin, samples.latency_ms())
    lost = samples.rows[samples.rows["kind"] != 0]
    axes.plot(times, values, ".", color=ONE, ms=3, alpha=0.7, label="slowest of each 20 ms")
    if len(lost):
        waited = np.maximum((lost["end"] - lost["due"]) * 1000, 0.1)
        axes.plot(lost["end"] - drill.begin, waited, "x", color=THREE, ms=5, label="failed")
    logarithmic(axes)
    axes.set_ylabel("ms, from the schedule")
    return float(values.max()) if len(values) else 0.0


def _slowest(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """One dot for each 20 ms keeps the page small and hides no slow answer."""
    order = np.lexsort((-values, (times / DOT_SECONDS).astype(int)))
    _, first = np.unique((times[order] / DOT_SECONDS).astype(int), return_index=True)
    kept = order[first]
    return times[kept], values[kept]


def _mark_kills(axes: Axes, drill: Drill, *, times: bool, labelled: bool) -> None:
    for number, kill in enumerate(drill.kills):
        at, ready = kill.killed_at - drill.begin, kill.ready_at - drill.begin
        label = "until the next is ready" if labelled and not number else None
        axes.axvspan(at, ready, color=TWO, alpha=0.18, lw=0, label=label)
        axes.axvline(at, color=FAINT, ls="--", lw=1)
        axes.annotate(
            kill.signal.removeprefix("SIG") + (f" {kill.ready_ms:,.0f} ms" if times else ""), (at, 1),
            xycoords=("data", "axes fraction"), xytext=(3, -10),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
