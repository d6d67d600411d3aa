"""Runs as they lie in a folder, with figures of our own: what reports are made of."""

from pathlib import Path

import numpy as np

from loadtests.cells import Cell, Cells, Latency, Phase, Route, Task
from loadtests.compare import describe
from loadtests.drill import Drill, DrillPlan, keep
from loadtests.load import Outcome
from loadtests.losses import Kill, losses
from loadtests.plan import Plan
from loadtests.samples import ROW, Samples, buckets_of

PLAN = Plan(profiles=["labels", "reader"], workers=[1, 2, 3, 4], repeats=5, duration=3, warmup=1, seed=7)


def cell(task: Task, per_second: float, *, accepted: bool = True, **changes: object) -> Cell:
    latency = Latency(p50=5.0, p95=12.5, p99=31.25 / task.workers, max=50)
    figures = {
        "order": 0, "users": 16, "rate": 350.0 if task.phase == "latency" else None, "seconds": 3.0,
        "requests": round(3 * per_second), "answered": round(3 * per_second), "failures": {}, "undone": 0,
        "unfinished": 0, "per_second": per_second, "latency": latency, "service": latency,
        "server_cores": 1.5, "generator_cores": 0.3, "generator_queued": 0.1, "other_cores": 0.05,
        "stolen_cores": 0.0, "idle_cores": 0.2, "server_us": 1200.0, "generator_us": 250.0,
        "lag_p99_ms": 2.0, "pss_mib": [30.0] + [31.0] * task.workers,
        "shares": [1 / task.workers] * task.workers,
        "routes": routes(task) if task.phase == "latency" else {},
        "flags": [] if accepted else ["disturbed by other processes"], "accepted": accepted,
    }  # fmt: skip
    return Cell.model_validate({"task": task, **figures, **changes})


def routes(task: Task) -> dict[str, Route]:
    random = np.random.default_rng(task.block)
    found = {}
    for name, requests, ms in (
        ("GET /items/{item_id}", 2000, 3.0),
        ("GET /items?sku=&name=&after=&limit=20", 700, 6.0),
        ("POST /items/{item_id}/movements", 300, 9.0),
    ):
        latency = ms / task.workers**0.5 * np.exp(random.normal(0, 0.4, requests))
        found[name] = Route(requests=requests, failed=0, buckets=buckets_of(latency))
    return found


def run(folder: Path, speedup: float = 1.0) -> Path:
    """A comparison on two cores: of labels with an answer, of reading with a generator that was the limit."""
    folder.mkdir()
    describe(folder, PLAN, None)
    random, store = np.random.default_rng(1), Cells(folder)
    phases: tuple[Phase, Phase] = ("capacity", "latency")
    for profile in PLAN.profiles:
        for block in range(PLAN.repeats):
            for workers in PLAN.workers:
                for phase in phases:
                    task = Task(block=block, phase=phase, profile=profile, workers=workers)
                    rate = speedup * 700 * min(workers, 2) * float(np.exp(random.normal(0, 0.02)))
                    limited = ["generator-limited"] if profile == "reader" else []
                    store.append(cell(task, rate, flags=limited))
    return folder


def drilled(folder: Path) -> Path:
    """A drill of four kills: two crashes, a hang of three seconds, a crash."""
    folder.mkdir()
    random, seconds = np.random.default_rng(3), 16.0
    plan = DrillPlan(
        workers=2, rate=100, kills=4, every=3, signals=["KILL", "ABRT", "STOP"], seed=3, ready_seconds=40
    )
    kills = [
        Kill(signal=f"SIG{name}", slot=number % 2, pid=40100 + number, successor=40200 + number,
             killed_at=at, reaped_ms=gone, forked_ms=gone + 3, ready_ms=gone + 45)
        for number, (name, at, gone) in enumerate(
            [("KILL", 2.5, 9.0), ("ABRT", 5.2, 31.0), ("STOP", 8.1, 3210.0), ("KILL", 13.9, 8.0)]
        )
    ]  # fmt: skip
    rows = np.zeros(int(seconds * plan.rate), dtype=ROW)
    rows["due"] = np.sort(random.uniform(0, seconds - 0.5, len(rows)))
    rows["start"] = rows["due"] + 0.0002
    rows["end"] = rows["start"] + random.gamma(2, 0.004, len(rows))
    for kill in kills:
        stuck = (rows["start"] <= kill.reaped_at) & (rows["end"] >= kill.killed_at)
        lost = stuck & (random.random(len(rows)) < 0.3)
        rows["kind"][lost] = 1
        rows["end"][lost] = kill.reaped_at
    samples = Samples(rows, ["/items/[id]"], ["", "closed without answer"])
    drill = Drill(
        plan=plan, begin=0, end=seconds, kills=losses(kills, samples), requests=len(rows),
        failures=dict(samples.failures), bookings=312, problems=[],
    )  # fmt: skip
    describe(folder, plan, None)
    keep(folder, drill, Outcome(samples, 0, 0, []))
    return folder
