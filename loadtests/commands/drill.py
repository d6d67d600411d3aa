"""`drill`: kills workers under load; passes when nothing was lost but what they had in flight."""

import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from loadtests.commands import common
from loadtests.compare import describe
from loadtests.config import COACHMAN, MOST_WORKERS, OPS_URL, URL
from loadtests.drill import Drill, DrillPlan, Progress, keep, run_drill
from loadtests.load import LoadError, Outcome
from loadtests.own_services import FreshServices
from loadtests.report.drill_page import write_drill_report
from loadtests.running_service import RunningService
from loadtests.services import ServiceError

SIGNALS = ("KILL", "STOP", "ABRT")


def drill(
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="How many serve.")] = 2,
    rate: Annotated[float, typer.Option(min=1, help="Requests/s of the open loop.")] = 100,
    kills: Annotated[int, typer.Option(min=1, help="How many.")] = 6,
    every: Annotated[float, typer.Option(min=0, help="Seconds between them, give or take a third.")] = 2,
    signals: Annotated[str, typer.Option(help="Of KILL, STOP and ABRT, in turn.")] = "KILL,KILL,ABRT,STOP",
    ready_seconds: Annotated[
        float, typer.Option(min=0.1, help="A replacement that takes longer fails the drill.")
    ] = 40,
    seed: Annotated[int | None, typer.Option(help="Of the arrivals and the pauses.")] = None,
    attach: common.Attach = False,
    url: common.Url = URL,
    ops_url: common.OpsUrl = OPS_URL,
    coachman: common.Coachman = COACHMAN,
    out: common.Out = None,
) -> None:
    """Kill workers under load and account for every request. Exit code: 0 passed, 1 failed."""
    names = signals.split(",")
    if unknown := [name for name in names if name not in SIGNALS]:
        common.fail(f"--signals {unknown[0]} is refused: there are {', '.join(SIGNALS)}.")
    common.require_this_machine(url)
    plan = DrillPlan(
        workers=workers, rate=rate, kills=kills, every=every, signals=names, ready_seconds=ready_seconds,
        seed=random.randrange(10**6) if seed is None else seed,  # noqa: S311
    )  # fmt: skip
    folder = common.new_folder("drill", out)
    describe(folder, plan, url if attach else None)
    console = common.console()
    console.print(f"{kills} kills in about {plan.seconds:.0f} s. Everything goes to {folder}")
    try:
        found, outcome = _run(plan, attach, url, ops_url, coachman, console.print)
    except KeyboardInterrupt:
        common.fail("Stopped by Ctrl-C; the drill did not come to its end.")
    except (ServiceError, LoadError) as error:
        common.fail(error)
    keep(folder, found, outcome)
    write_drill_report(folder)
    lost = sum(found.failures.values())
    where = ", all of them in flight at a kill" if lost and not found.problems else ""
    console.print(
        f"{lost:,} of {found.requests:,} requests lost in {len(found.kills)} kills{where}; "
        f"{found.bookings:,} bookings compared with the database."
    )
    for problem in found.problems:
        console.print(problem)
    console.print(f"The drill {'failed' if found.problems else 'passed'}. Report: {folder / 'report.html'}")
    if found.problems:
        raise typer.Exit(common.FAILURE)


def _run(
    plan: DrillPlan, attach: bool, url: str, ops_url: str, coachman: str, tell: Progress
) -> tuple[Drill, Outcome]:
    if not attach:
        with tempfile.TemporaryDirectory(prefix="loadtests-") as name:
            return run_drill(FreshServices(Path(name)), plan, tell)
    running = RunningService(url, ops_url, coachman)
    try:
        return run_drill(running, plan, tell)
    finally:
        running.put_back()
