"""`compare`: throughput and latency by the number of workers, and the number to run."""

import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from loadtests.commands import common
from loadtests.commands.common import COACHMAN, OPS_URL, URL
from loadtests.compare import Comparison, describe, read_description
from loadtests.load import LoadError
from loadtests.own_services import FreshServices
from loadtests.plan import PROFILES, Plan
from loadtests.report.page import write_report
from loadtests.running_service import RunningService
from loadtests.services import ServiceError, Target


def compare(
    workers: Annotated[str, typer.Option(help="Numbers of workers, with commas.")] = "1,2,3,4",
    profiles: Annotated[str, typer.Option(help=f"Of {', '.join(PROFILES)}.")] = "labels,mixed",
    repeats: Annotated[
        int, typer.Option(min=1, help="Blocks, and more where the answer is open; under 3 give none.")
    ] = 5,
    duration: Annotated[float, typer.Option(min=0.5, help="Seconds of a measurement.")] = 3,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds before it.")] = 1,
    latency_seconds: Annotated[
        float, typer.Option(min=0.5, help="The longest that a p99 may take to have its 1,000 requests.")
    ] = 8,
    users: Annotated[int | None, typer.Option(min=1, help="Clients of the closed loop.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Requests/s of the open loop, for all numbers."),
    ] = None,
    within: Annotated[float, typer.Option(min=0, max=50, help="Per cent below the best that will do.")] = 5,
    p99_ms: Annotated[float | None, typer.Option(min=0, help="The p99 that has to be met.")] = None,
    mem_budget: Annotated[float | None, typer.Option(min=0, help="MiB for master and workers.")] = None,
    crash_margin: Annotated[bool, typer.Option(help="Want one worker left while one is replaced.")] = True,
    other_cores: Annotated[
        float, typer.Option(min=0, help="What other processes may use before a measurement is set aside.")
    ] = 0.3,
    max_minutes: Annotated[float, typer.Option(min=0.1, help="Ends the run; what there is remains.")] = 9,
    seed: Annotated[int | None, typer.Option(help="Of the order and the arrivals.")] = None,
    attach: common.Attach = False,
    url: common.Url = URL,
    ops_url: common.OpsUrl = OPS_URL,
    coachman: common.Coachman = COACHMAN,
    out: common.Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --out holds.")] = False,
    baseline: Annotated[Path | None, typer.Option(help="Another run's folder to compare with.")] = None,
) -> None:
    """Measure, and say how many workers to run. Exit code: 0 an answer, 3 none, 1 a failure."""
    if resume and (out is None or not (out / "run.json").exists()):
        common.fail("--resume needs --out with the folder of a run; nothing was measured.")
    if baseline is not None and not (baseline / "run.json").exists():
        common.fail(f"--baseline {baseline} is refused: it must be the folder of a run.")
    common.require_this_machine(url)
    folder = common.new_folder("compare", out)
    if resume:
        plan = Plan.model_validate(read_description(folder)["plan"])
    else:
        if (folder / "cells.jsonl").exists():
            common.fail(f"--out {folder} holds a run: --resume goes on with it.")
        plan = Plan(
            profiles=_names(profiles), workers=_counts(workers), repeats=repeats, duration=duration,
            warmup=warmup, users=users, rate=rate, within=within / 100, p99_ms=p99_ms, memory_mib=mem_budget,
            crash_margin=crash_margin, other_cores=other_cores,
            latency_seconds=latency_seconds,
            seed=random.randrange(10**6) if seed is None else seed,  # noqa: S311
        )  # fmt: skip
        describe(folder, plan, url if attach else None)
    early = _run(folder, plan, attach, url, ops_url, coachman, max_minutes)
    _tell(folder, early, baseline)


def _run(
    folder: Path, plan: Plan, attach: bool, url: str, ops_url: str, coachman: str, max_minutes: float
) -> str | None:
    console = common.console()
    minutes = min(plan.seconds / 60, max_minutes)
    console.print(f"About {minutes:.0f} minutes; Ctrl-C keeps what is measured. Everything goes to {folder}")
    try:
        if not attach:
            with tempfile.TemporaryDirectory(prefix="loadtests-") as name:
                return _measure(folder, plan, FreshServices(Path(name)), max_minutes)
        running = RunningService(url, ops_url, coachman)
        try:
            return _measure(folder, plan, running, max_minutes)
        finally:
            running.put_back()
    except KeyboardInterrupt:
        return "Stopped by Ctrl-C"
    except (ServiceError, LoadError) as error:
        common.fail(f"{error}\nWhat was measured is in {folder}; --resume goes on.")


def _measure(folder: Path, plan: Plan, target: Target, max_minutes: float) -> str | None:
    return Comparison(folder, plan, target, common.console(), max_minutes).run()


def _tell(folder: Path, early: str | None, baseline: Path | None) -> None:
    console = common.console()
    summaries = write_report(folder, early, baseline)
    if early:
        console.print(f"{early}: `{sys.executable} -m loadtests compare --resume --out {folder}` goes on.")
    for summary in summaries:
        console.print(f"{summary.title}: {summary.answer.sentence}")
    console.print(f"Report: {folder / 'report.html'}")
    if not any(summary.answer.smallest for summary in summaries):
        raise typer.Exit(common.NO_ANSWER)


def _counts(text: str) -> list[int]:
    most, parts = common.MOST_WORKERS, text.split(",")
    counts = [int(part) for part in parts if part.isdecimal() and 1 <= int(part) <= most]
    if len(counts) != len(parts):
        common.fail(f"--workers {text} is refused: it must be numbers from 1 to {most}, with commas.")
    return sorted(set(counts))


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PROFILES]:
        common.fail(f"--profiles {unknown[0]} is refused: there are {', '.join(PROFILES)}.")
    return list(dict.fromkeys(names))
