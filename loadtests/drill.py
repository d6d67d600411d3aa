"""Kills workers under load, and accounts afterwards for every request."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from loadtests import bookings
from loadtests.load import Load, Outcome
from loadtests.losses import Kill, losses, stray_failures
from loadtests.procfs import children
from loadtests.services import SHOP, Service, ServiceError, Target

PROFILE = "mixed"
LEAST_POOL = 64
SETTLE_SECONDS = 1.3  # a worker that ends within its first second counts as one that cannot start
HANG_SECONDS = 3


class DrillPlan(BaseModel):
    model_config = ConfigDict(frozen=True)

    workers: int
    rate: float
    kills: int
    every: float
    signals: list[str]
    seed: int
    ready_seconds: float  # the longest that a replacement may take

    @property
    def seconds(self) -> float:
        stops = sum(self.signals[n % len(self.signals)] == "STOP" for n in range(self.kills))
        return self.kills * (self.every + 1) + stops * HANG_SECONDS + 8


class Drill(BaseModel):
    """The outcome of a drill; `problems` is empty when it passed."""

    plan: DrillPlan
    begin: float
    end: float
    kills: list[Kill] = Field(validation_alias=AliasChoices("kills", "blows"))  # their name in older runs
    requests: int
    failures: dict[str, int]
    bookings: int
    problems: list[str]


Progress = Callable[[str], None]


def run_drill(target: Target, plan: DrillPlan, progress: Progress) -> tuple[Drill, Outcome]:
    with target.started(plan.workers, SHOP, COACHMAN_HANG_SECONDS=str(HANG_SECONDS)) as service:
        service.wait_ready(plan.workers)
        _stock_up(service)
        before, master = bookings.quantities(service.url), service.master
        pool = max(LEAST_POOL, round(plan.rate))
        with Load(PROFILE, service.url, users=pool, rate=plan.rate, seed=plan.seed, ledger=True) as load:
            begin = load.begin()
            kills, problems = _kill_workers(service, load, plan, progress)
            time.sleep(SETTLE_SECONDS)
            outcome, end = load.end(), time.monotonic()
        problems += _aftermath(service, master, plan, outcome, before)
    kills = losses(kills, outcome.samples)
    problems += stray_failures(kills, outcome.samples)
    return Drill(
        plan=plan,
        begin=begin,
        end=end,
        kills=kills,
        requests=len(outcome.samples) + outcome.unfinished,
        failures=dict(outcome.samples.failures),
        bookings=len(outcome.ledger),
        problems=problems,
    ), outcome


def _stock_up(service: Service) -> None:
    with Load("reader", service.url, users=1) as load:
        load.begin()
        load.end()


def _kill_workers(
    service: Service, load: Load, plan: DrillPlan, progress: Progress
) -> tuple[list[Kill], list[str]]:
    jitter = random.Random(plan.seed)  # noqa: S311
    kills: list[Kill] = []
    for number in range(plan.kills):
        time.sleep(max(SETTLE_SECONDS, plan.every * jitter.uniform(0.7, 1.3)))
        load.check()
        name = plan.signals[number % len(plan.signals)]
        try:
            kill = _kill_worker(service, name, plan.ready_seconds)
        except ServiceError as error:
            return kills, [str(error)]
        kills.append(kill)
        progress(f"SIG{name} to {kill.pid}: replaced after {kill.ready_ms:.0f} ms")
    return kills, []


def _kill_worker(service: Service, name: str, ready_seconds: float) -> Kill:
    workers = children(service.master)
    printed = service.command(
        "kill-worker", "--any", "--signal", name, "--wait", f"{ready_seconds:g}", "--json"
    )
    facts: dict[str, Any] = json.loads(printed)
    if facts["pid"] not in workers:
        raise ServiceError(f"Process {facts['pid']} was killed and was no worker of the master.")
    return Kill(**{key: value for key, value in facts.items() if key in Kill.model_fields})


def _aftermath(
    service: Service, master: int, plan: DrillPlan, outcome: Outcome, before: dict[int, int]
) -> list[str]:
    found = []
    try:
        service.wait_ready(plan.workers)
        if service.master != master:
            found.append(f"Another master serves: {service.master} instead of {master}.")
        found += bookings.problems(service.url, before, outcome.ledger)
    except (ServiceError, OSError) as error:
        found.append(str(error))
    if outcome.undone or outcome.unfinished:
        found.append(f"{outcome.undone} requests were never sent, {outcome.unfinished} never answered.")
    return found


def keep(folder: Path, drill: Drill, outcome: Outcome) -> None:
    (folder / "drill.json").write_text(drill.model_dump_json(indent=2))
    outcome.samples.rows.tofile(folder / "requests.bin")
    names = {"names": outcome.samples.names, "kinds": outcome.samples.kinds}
    (folder / "requests.json").write_text(json.dumps(names))
