"""One measurement: a service with so many workers, a fresh generator, one window."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from loadtests import flags, procfs
from loadtests.cells import Cell, Latency, Route, Task
from loadtests.load import Load, Outcome
from loadtests.meter import Reading, Usage
from loadtests.plan import PROFILES, Plan
from loadtests.samples import Floats, Samples, buckets_of, percentile
from loadtests.services import Service, Slot, Target

LOOK_SECONDS = 0.1
LEAST_POOL, LARGEST_POOL = 64, 500  # users of an open loop: enough to wait out a second of slowness

Progress = Callable[[str], None]


class Window(NamedTuple):
    begin: float
    end: float
    usage: Usage
    shares: list[float]
    pss_mib: list[float]


def measure(
    target: Target, plan: Plan, task: Task, order: int, rate: float | None, progress: Progress
) -> Cell:
    profile = PROFILES[task.profile]
    users = plan.users or profile.users
    if rate:
        users = min(LARGEST_POOL, max(LEAST_POOL, round(rate)))
    with target.started(task.workers, profile.app) as service:
        # The generator's start and the service's take place side by side.
        load = Load(task.profile, service.url, users=users, rate=rate, seed=plan.seed + task.block)
        with load:
            service.wait_ready(task.workers)
            load.begin()
            _watch(load, service, plan.warmup, progress)
            window = _window(load, service, plan.window(rate), progress)
            outcome = load.end()
            lag = load.lag_ms(window.begin, window.end)
    return _cell(plan, task, order, users, rate, window, outcome, lag)


def _window(load: Load, service: Service, seconds: float, progress: Progress) -> Window:
    master = service.master
    before, begin = service.slots(), Reading.take(master, load.pid)
    _watch(load, service, seconds, progress)
    end, after = Reading.take(master, load.pid), service.slots()
    processes = [master, *procfs.children(master)] if master else []
    memory = [procfs.pss_mib(pid) for pid in processes]
    return Window(begin.at, end.at, begin.until(end), _shares(before, after), memory)


def _watch(load: Load, service: Service, seconds: float, progress: Progress) -> None:
    deadline, begun = time.monotonic() + seconds, load.progress
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        load.check()
        service.check()
        done = load.progress["requests"] - begun["requests"]
        progress(f"{done:,} requests, {load.progress['failures']} failed")


def _shares(before: list[Slot], after: list[Slot]) -> list[float]:
    """Returns the share of each worker; of one that started meanwhile all its requests count."""
    known = {slot.pid: slot.requests for slot in before}
    counts = [slot.requests - known.get(slot.pid, 0) for slot in after]
    return [count / sum(counts) for count in counts] if sum(counts) else []


def _cell(
    plan: Plan,
    task: Task,
    order: int,
    users: int,
    rate: float | None,
    window: Window,
    outcome: Outcome,
    lag: float | None,
) -> Cell:
    by = "due" if rate else "end"
    inside = outcome.samples.between(window.begin, window.end, by=by)
    ended = outcome.samples.between(window.begin, window.end, by="end")
    usage, answered = window.usage, len(ended.answered)
    latency = latency_of(inside.latency_ms())
    raised = flags.flags_of(
        usage,
        workers=task.workers,
        halves=_halves(ended, window),
        failed=sum(outcome.samples.failures.values()) + outcome.unfinished,
        due=len(inside) + outcome.undone,
        answered=answered,
        shares=window.shares,
        lag_p99_ms=lag,
        p50_ms=latency.p50,
        open_loop=bool(rate),
        other_cores=plan.other_cores,
    )
    return Cell(
        task=task,
        order=order,
        users=users,
        rate=rate,
        seconds=usage.seconds,
        requests=len(inside),
        answered=len(inside.answered),
        failures=dict(outcome.samples.failures),
        undone=outcome.undone,
        unfinished=outcome.unfinished,
        per_second=answered / usage.seconds,
        latency=latency,
        service=latency_of(inside.service_ms()),
        server_cores=usage.server,
        generator_cores=usage.generator,
        generator_queued=usage.generator_queued,
        other_cores=usage.others,
        stolen_cores=usage.stolen,
        idle_cores=usage.idle,
        server_us=_each(usage.server, usage.seconds, answered) if window.pss_mib else None,
        generator_us=_each(usage.generator, usage.seconds, answered),
        lag_p99_ms=lag,
        pss_mib=window.pss_mib,
        shares=window.shares,
        routes=_routes(inside),
        flags=raised,
        accepted=flags.DISTURBED not in raised,
    )


def _routes(samples: Samples) -> dict[str, Route]:
    return {
        name: Route(
            requests=len(mine), failed=len(mine) - len(mine.answered), buckets=buckets_of(mine.latency_ms())
        )
        for name, mine in samples.by_route()
    }


def latency_of(values: Floats) -> Latency:
    return Latency(
        p50=percentile(values, 50),
        p95=percentile(values, 95),
        p99=percentile(values, 99),
        max=float(np.max(values)) if len(values) else None,
    )


def _halves(samples: Samples, window: Window) -> tuple[int, int]:
    middle = (window.begin + window.end) / 2
    first = int(np.count_nonzero(samples.rows["end"] < middle))
    return first, len(samples) - first


def _each(cores: float, seconds: float, requests: int) -> float | None:
    return cores * seconds / requests * 1e6 if requests else None
