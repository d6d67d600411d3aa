"""What is read from samples and from /proc."""

import os
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

from loadtests import flags, procfs
from loadtests.meter import Reading, Usage
from loadtests.plan import Plan
from loadtests.samples import ROW, Samples, buckets_of, percentile, percentile_of
from tests.support.service import wait_until

BURN = "while True: pass"
CALM = Usage(3.0, server=1.2, generator=0.3, generator_queued=0.05, others=0.05, stolen=0, idle=0.5)
FACTS: dict[str, Any] = {
    "workers": 2, "halves": (900, 910), "failed": 0, "due": 1810, "answered": 1810, "shares": [0.5, 0.5],
    "lag_p99_ms": 1.0, "p50_ms": 9.0, "open_loop": False, "other_cores": 0.3,
}  # fmt: skip


def samples(count: int = 5000) -> Samples:
    rows = np.zeros(count, dtype=ROW)
    rows["due"] = np.linspace(0, 10, count)
    rows["start"] = rows["due"] + 0.0001
    rows["end"] = rows["due"] + np.random.default_rng(1).gamma(2, 0.0004, count)
    rows["kind"][::100] = 1
    return Samples(rows, ["/"], ["", "reset"])


def test_percentiles_are_those_of_the_raw_answers() -> None:
    found = samples()
    answered = found.rows[found.rows["kind"] == 0]

    assert percentile(found.latency_ms(), 99) == np.percentile((answered["end"] - answered["due"]) * 1000, 99)
    assert 0 < (percentile(found.latency_ms(), 50) or 0) < 1, "less than a millisecond is not nothing"
    assert found.failures == {"reset": 50}
    assert len(found.answered) + found.failures.total() == len(found)


def test_a_percentile_of_too_few_requests_is_refused() -> None:
    few = samples(900)

    assert percentile(few.latency_ms(), 95) is not None
    assert percentile(few.latency_ms(), 99) is None
    assert percentile(samples().latency_ms(), 99.9) is None


def test_percentiles_of_counts_are_those_of_all_windows_together() -> None:
    windows = [samples(), samples(3000)]
    together = np.concatenate([window.latency_ms() for window in windows])
    counts: Counter[int] = Counter()
    for window in windows:
        counts.update(buckets_of(window.latency_ms()))

    assert counts.total() == len(together)
    for share in (50, 95, 99):
        assert percentile_of(counts, share) == pytest.approx(np.percentile(together, share), rel=0.02)
    assert percentile_of({0: 999}, 99) is None, "too few requests"


def test_requests_are_told_apart_by_route_the_busiest_first() -> None:
    found = samples()
    found.rows["name"][:100] = 1
    routes = dict(Samples(found.rows, ["/items/{id}", "/labels"], found.kinds).by_route())

    assert list(routes) == ["/items/{id}", "/labels"]
    assert len(routes["/labels"]) == 100
    assert sum(len(mine) for mine in routes.values()) == len(found)


def test_the_cpu_of_a_killed_child_is_not_lost() -> None:
    master = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys\n"
         f"child = subprocess.Popen([sys.executable, '-c', {BURN!r}])\nchild.wait()\nsys.stdin.read()"],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert wait_until(lambda: procfs.service_cpu_seconds(master.pid) > 0.5, seconds=120)
        before = procfs.service_cpu_seconds(master.pid)
        (child,) = procfs.children(master.pid)
        os.kill(child, signal.SIGKILL)
        assert wait_until(lambda: not procfs.children(master.pid))

        assert procfs.service_cpu_seconds(master.pid) >= before
    finally:
        master.kill()
        master.communicate()
    assert procfs.cpu_seconds(master.pid) == 0, "a process that is gone"


def test_a_burner_beside_the_run_is_seen_as_others() -> None:
    begin = Reading.take(os.getpid(), 0)
    burner = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        assert wait_until(lambda: procfs.cpu_seconds(burner.pid) > 0.5, seconds=120)
        burnt, end = procfs.cpu_seconds(burner.pid), Reading.take(os.getpid(), 0)
    finally:
        burner.kill()
        burner.wait()

    # Our own children count as the service here, so the burner does; nobody may be counted twice.
    usage = begin.until(end)
    assert usage.server * usage.seconds >= burnt * 0.9
    total = usage.server + usage.others + usage.idle + usage.stolen
    assert total == pytest.approx(os.cpu_count(), rel=0.25)


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"generator": 0.95}, flags.GENERATOR_LIMITED),
        ({"generator": 0.8, "generator_queued": 0.15, "server": 0.5}, flags.GENERATOR_LIMITED),
        ({"generator": 0.8, "server": 1.1, "idle": 0.05}, flags.GENERATOR_SHARE),
        ({"others": 0.4}, flags.DISTURBED),
        ({"stolen": 0.2}, flags.DISTURBED),
    ],
)
def test_usage_that_is_not_about_the_server_is_flagged(changes: dict[str, float], flag: str) -> None:

    assert flags.flags_of(CALM, **FACTS) == []
    assert flags.flags_of(CALM._replace(**changes), **FACTS) == [flag]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"failed": 1}, flags.FAILURES),
        ({"halves": (900, 1000)}, flags.UNSTEADY),
        ({"shares": [0.82, 0.18]}, flags.UNEVEN),
        ({"lag_p99_ms": 20.0}, flags.LAGGING),
        ({"open_loop": True, "answered": 1500}, flags.BEHIND),
    ],
)
def test_answers_that_mislead_are_flagged(changes: dict[str, object], flag: str) -> None:

    assert flags.flags_of(CALM, **(FACTS | changes)) == [flag]


def test_each_block_holds_every_measurement_once_in_an_order_of_its_seed() -> None:
    plan = Plan(profiles=["labels", "mixed"], workers=[1, 2, 3, 4], repeats=5, duration=3, warmup=1, seed=7)
    tasks = list(plan.tasks())

    blocks = [[task for task in tasks if task.block == block] for block in range(5)]
    assert [len(block) for block in blocks] == [16, 16, 8, 8, 8]
    assert all(len(set(block)) == len(block) for block in blocks)
    assert tasks == list(plan.tasks())
    assert tasks != list(plan.model_copy(update={"seed": 8}).tasks())
    assert plan.seconds < 450, "`make compare` ends in ten minutes, and has time left for more repeats"
    with_target = plan.model_copy(update={"p99_ms": 50.0})
    assert sum(task.phase == "latency" for task in with_target.tasks()) == 3 * 8, "the least for an interval"
