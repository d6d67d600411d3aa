"""A whole comparison: the plan's measurements one after the other, kept as they come."""

import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests import procfs
from loadtests.cells import Cell, Cells, Task, accepted_tasks
from loadtests.measure import measure
from loadtests.meter import wait_for_quiet
from loadtests.plan import MOST_BLOCKS, START_SECONDS, Plan
from loadtests.report.summary import summarise
from loadtests.report.wording import in_unit
from loadtests.services import Target

PACKAGES = (
    "locust",
    "geventhttpclient",
    "gunicorn",
    "uvicorn",
    "uvicorn-worker",
    "fastapi",
    "numpy",
    "scipy",
)
QUIET_SECONDS = 5.0
AUTO_SHARE = 0.5  # of what the smallest number of workers can do: the same rate for all


class Comparison:
    """Ctrl-C and the time limit end it between two measurements; what there is remains."""

    def __init__(
        self, folder: Path, plan: Plan, target: Target, console: Console, max_minutes: float
    ) -> None:
        self._plan, self._target, self._console = plan, target, console
        self._store = Cells(folder)
        self._cells = self._store.read()
        self._deadline = time.monotonic() + max_minutes * 60

    def run(self) -> str | None:
        """Runs the plan. Returns why it ended early, or None."""
        done = accepted_tasks(self._cells)
        tasks = [task for task in self._plan.tasks() if task not in done]
        total = len(tasks)
        with _bar(self._console) as bar:
            row = bar.add_task("", total=total, live="")
            try:
                for block in range(self._plan.repeats):
                    mine = [task for task in tasks if task.block == block]
                    if early := self._measure_all(mine, bar, row):
                        return early
                    again = [task for task in mine if task not in accepted_tasks(self._cells)]
                    total += len(again)
                    bar.update(row, total=total)
                    if early := self._measure_all(again, bar, row):
                        return early
                self._repeat_where_undecided(bar, row)
            except KeyboardInterrupt:
                return "Stopped by Ctrl-C"
        return None

    def _repeat_where_undecided(self, bar: Progress, row: Any) -> None:
        """Adds blocks for the numbers of workers that could not be told apart, as long as there is time.

        Of throughput: where a p99 has to be met, it may be that what is open.
        """
        if self._plan.p99_ms is not None:
            return
        first = 1 + max((cell.task.block for cell in self._cells), default=-1)
        for block in range(first, MOST_BLOCKS):
            answers = {one.name: one.answer.undecided for one in summarise(self._plan, self._cells)}
            tasks = self._plan.more(block, answers)
            bar.update(row, total=len(accepted_tasks(self._cells)) + len(tasks))
            if not tasks or self._measure_all(tasks, bar, row):
                return

    def _measure_all(self, tasks: list[Task], bar: Progress, row: Any) -> str | None:
        for task in tasks:
            if (
                time.monotonic() + self._plan.warmup + self._plan.window(self._plan.rate) + START_SECONDS
                > self._deadline
            ):
                return "Out of time (--max-minutes)"
            if self._cells and not self._cells[-1].accepted:
                wait_for_quiet(self._plan.other_cores, QUIET_SECONDS)
            name = f"{task.profile} {task.phase}, {task.workers} {self._plan.unit}(s), block {task.block + 1}"
            bar.update(row, description=name)
            cell = self._measure(task, lambda live: bar.update(row, live=live))
            bar.update(row, advance=1, live="")
            if not self._console.is_terminal:
                self._console.print(in_unit(_line(cell, len(self._cells)), self._plan.unit))
        return None

    def _measure(self, task: Task, live: Any) -> Cell:
        rate = self._rate(task.profile) if task.phase == "latency" else None
        cell = measure(self._target, self._plan, task, len(self._cells), rate, live)
        self._store.append(cell)
        self._cells.append(cell)
        return cell

    def _rate(self, profile: str) -> float:
        """Returns the rate of the whole run, set by its first block, so that p99s can be compared."""
        if self._plan.rate:
            return self._plan.rate
        mine = [cell for cell in self._cells if cell.task.profile == profile]
        if known := next((cell.rate for cell in mine if cell.rate), None):
            return known
        smallest = min(self._plan.workers)
        capacity = [cell.per_second for cell in mine if cell.task.workers == smallest]
        return max(1.0, float(f"{AUTO_SHARE * capacity[-1]:.2g}"))


def describe(folder: Path, plan: BaseModel, attached: str | None) -> None:
    """Writes what one has to know to repeat the run, before anything is measured."""
    facts = {
        "plan": plan.model_dump(),
        "command": ["python", "-m", "loadtests", *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": procfs.CORES,
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cpu": _cpu_name(),
        "load_average": os.getloadavg(),
        "attached": attached,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }
    (folder / "run.json").write_text(json.dumps(facts, indent=2))


def read_description(folder: Path) -> dict[str, Any]:
    """Reads what `describe` wrote. Raises FileNotFoundError where there is no run."""
    facts: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return facts


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=24),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        TextColumn("[dim]{task.fields[live]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _line(cell: Cell, number: int) -> str:
    task = cell.task
    p99 = f"p99 {cell.latency.p99:.1f} ms" if cell.latency.p99 else "p99 of too few"
    flags = f"  [{', '.join(cell.flags)}]" if cell.flags else ""
    return (
        f"{number:>4}  block {task.block + 1}  {task.profile:<10} {task.phase:<8} {task.workers} worker(s) "
        f"{cell.per_second:>8,.0f}/s  {p99}{flags}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not here"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
