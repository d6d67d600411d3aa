"""`compare`: throughput and latency by the number of workers, and the number to run."""

import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtests.commands import common
from loadtests.compare import Comparison, describe, read_description
from loadtests.config import MOST_WORKERS, Config, ConfigError
from loadtests.load import LoadError
from loadtests.own_services import FreshServices
from loadtests.plan import PROFILES, Plan
from loadtests.replicas import ScaledReplicas
from loadtests.report.page import write_report
from loadtests.running_service import RunningService
from loadtests.services import ServiceError, Target


def compare(
    workers: Annotated[
        str | None, typer.Option(help="Numbers of workers to compare, with commas.", show_default="1,2,3,4")
    ] = None,
    profiles: Annotated[
        str | None,
        typer.Option(
            help=f"Kinds of requests, with commas: of {', '.join(PROFILES)}.", show_default="labels,mixed"
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests/s that you expect: latency is measured at this rate.")
    ] = None,
    p99_ms: Annotated[float | None, typer.Option(help="The p99 that has to be met, in ms.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Ends the run; what is measured remains.", show_default="9")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file with these and all other choices: see docs/load-testing.md."),
    ] = None,
    attach: common.Attach = False,
    out: common.Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what --out holds.")] = False,
) -> None:
    """Measure, and say how many workers to run. Exit code: 0 an answer, 3 none, 1 a failure."""
    if resume and (out is None or not (out / "run.json").exists()):
        common.fail("--resume needs --out with the folder of a run; nothing was measured.")
    chosen = _choices(
        config, workers=workers and _counts(workers), profiles=profiles and profiles.split(","),
        rate=rate, p99_ms=p99_ms, max_minutes=max_minutes,
    )  # fmt: skip
    _check_place(chosen, attach)
    folder = common.new_folder("compare", out)
    if resume:
        plan = Plan.model_validate(read_description(folder)["plan"])
    else:
        if (folder / "cells.jsonl").exists():
            common.fail(f"--out {folder} holds a run: --resume goes on with it.")
        plan = chosen.plan(seed=random.randrange(10**6))  # noqa: S311
        describe(folder, plan, chosen.url if attach else None)
    if plan.unit != chosen.unit:
        common.fail(
            f"{folder} counts {plan.unit}s: give the --config of that run again. Nothing was measured."
        )
    _tell(folder, _run(folder, plan, chosen, attach))


def _choices(config: Path | None, **options: Any) -> Config:
    try:
        return Config.read(config, options)
    except ConfigError as error:
        common.fail(error)


def _check_place(chosen: Config, attach: bool) -> None:
    if not chosen.scale_command:
        common.require_this_machine(chosen.url)
    elif not attach:
        common.fail(
            "scale-command is refused without --attach: it is for a service that runs. Nothing was measured."
        )


def _run(folder: Path, plan: Plan, chosen: Config, attach: bool) -> str | None:
    console, max_minutes = common.console(), chosen.max_minutes
    minutes = min(plan.seconds / 60, max_minutes)
    console.print(
        f"About {minutes:.0f} minutes, and up to {max_minutes:g} while the answer is open; "
        f"Ctrl-C keeps what is measured. Everything goes to {folder}"
    )
    try:
        if not attach:
            with tempfile.TemporaryDirectory(prefix="loadtests-") as name:
                return _measure(folder, plan, FreshServices(Path(name)), max_minutes)
        if chosen.scale_command:
            return _measure_replicas(
                folder, plan, ScaledReplicas(chosen.url, chosen.scale_command), max_minutes
            )
        running = RunningService(chosen.url, chosen.ops_url, chosen.coachman)
        try:
            return _measure(folder, plan, running, max_minutes)
        finally:
            running.put_back()
    except KeyboardInterrupt:
        return "Stopped by Ctrl-C"
    except (ServiceError, LoadError) as error:
        common.fail(f"{error}\nWhat was measured is in {folder}; --resume goes on.")


def _measure_replicas(folder: Path, plan: Plan, target: ScaledReplicas, max_minutes: float) -> str | None:
    """Leaves the largest number in the end: how many there were before is not known."""
    try:
        return _measure(folder, plan, target, max_minutes)
    finally:
        target.scale(max(plan.workers))
        common.console().print(f"The service has {max(plan.workers)} replicas now.")


def _measure(folder: Path, plan: Plan, target: Target, max_minutes: float) -> str | None:
    return Comparison(folder, plan, target, common.console(), max_minutes).run()


def _tell(folder: Path, early: str | None) -> None:
    console = common.console()
    summaries = write_report(folder, early)
    if early:
        console.print(f"{early}: `{sys.executable} -m loadtests compare --resume --out {folder}` goes on.")
    for summary in summaries:
        console.print(f"{summary.title}: {summary.answer.sentence}")
    console.print(f"Report: {folder / 'report.html'}")
    if not any(summary.answer.smallest for summary in summaries):
        raise typer.Exit(common.NO_ANSWER)


def _counts(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        common.fail(
            f"--workers {text} is refused: it must be numbers from 1 to {MOST_WORKERS}, with commas. "
            "Nothing was measured."
        )
    return [int(part) for part in parts]
