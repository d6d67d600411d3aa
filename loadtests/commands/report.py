"""`report`: the page anew, from what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.commands import common
from loadtests.report.page import write_report


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    baseline: Annotated[Path | None, typer.Option(help="Another run's folder to compare with.")] = None,
) -> None:
    """Write report.html, summary.csv and summary.md from a run's cells.jsonl."""
    for name in (folder, baseline):
        if name is not None and not (name / "run.json").exists():
            raise common.refuse(f"{name} is refused: it must be the folder of a run, with its run.json.")
    summaries = write_report(folder, None, baseline)
    console = common.console()
    for summary in summaries:
        console.print(f"{summary.title}: {summary.answer.sentence}")
    console.print(f"Report: {folder / 'report.html'}")
