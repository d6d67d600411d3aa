"""One HTML file that needs nothing: no network, no script."""

import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from loadtests import flags
from loadtests.cells import Cells
from loadtests.compare import read_description
from loadtests.plan import Plan
from loadtests.report import tables
from loadtests.report.charts import charts
from loadtests.report.summary import Summary, summarise

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)


def write_report(folder: Path, early: str | None = None, baseline: Path | None = None) -> list[Summary]:
    """Writes report.html, summary.csv and summary.md beside the measurements."""
    facts = read_description(folder)
    plan = Plan.model_validate(facts["plan"])
    cells = Cells(folder).read()
    summaries = summarise(plan, cells)
    compared = tables.against(summaries, _summaries_of(baseline)) if baseline else []
    page = TEMPLATES.get_template("compare.html.j2").render(
        facts=facts,
        plan=plan,
        early=early,
        cells=cells,
        summaries=summaries,
        charts={summary.name: charts(summary) for summary in summaries},
        headings=tables.HEADINGS,
        cells_of=tables.cells_of,
        notes_of=tables.notes_of,
        raised={flag: flags.MEANING[flag] for flag in flags.MEANING if any(flag in c.flags for c in cells)},
        command=shlex.join(facts["command"]),
        compared=compared,
        baseline=baseline,
        card=card,
    )
    (folder / "report.html").write_text(page)
    (folder / "summary.csv").write_text(tables.comma_separated(summaries))
    (folder / "summary.md").write_text(tables.markdown(summaries))
    return summaries


def card(summary: Summary) -> dict[str, Any]:
    """The verdict in large letters: a number, a range, or that there is none."""
    answer = summary.answer
    if answer.smallest is None:
        return {"number": "?", "unit": "no answer", "kind": "none"}
    if answer.is_sure:
        return {"number": answer.smallest, "unit": "worker" + "s" * (answer.smallest != 1), "kind": "sure"}
    if answer.smallest == answer.largest:
        return {"number": f"{answer.smallest}?", "unit": "workers, perhaps", "kind": "range"}
    return {"number": f"{answer.smallest}-{answer.largest}", "unit": "workers", "kind": "range"}


def _summaries_of(folder: Path) -> list[Summary]:
    return summarise(Plan.model_validate(read_description(folder)["plan"]), Cells(folder).read())
