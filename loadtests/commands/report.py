"""`report`: makes the page again from what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from loadtests.commands import common
from loadtests.report.drill_page import write_drill_report
from loadtests.report.page import write_report


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    baseline: Annotated[Path | None, typer.Option(help="Another run's folder to compare with.")] = None,
) -> None:
    """Write report.html again, and of a comparison summary.csv and summary.md."""
    console = common.console()
    if (folder / "drill.json").exists() and baseline is None:
        write_drill_report(folder)
    else:
        for name in (folder, baseline):
            if name is not None and not (name / "cells.jsonl").exists():
                common.fail(
                    f"{name} is refused: it must be the folder of a comparison, with its cells.jsonl."
                )
        for summary in write_report(folder, None, baseline):
            console.print(f"{summary.title}: {summary.answer.sentence}")
    console.print(f"Report: {folder / 'report.html'}")
