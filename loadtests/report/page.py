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
from loadtests.report.summary import Row, Summary, summarise
from loadtests.report.wording import in_unit

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
        route_headings=tables.ROUTE_HEADINGS,
        cells_of=tables.cells_of,
        by_route=tables.by_route,
        repeats_of=tables.repeats_of,
        notes_of=tables.notes_of,
        raised={flag: flags.MEANING[flag] for flag in flags.MEANING if any(flag in c.flags for c in cells)},
        command=shlex.join(facts["command"]),
        compared=compared,
        baseline=baseline,
        headline=headline(summaries),
        card=card,
        bars=bars,
        reservation=reservation,
        curve=curve,
    )
    texts = {
        "report.html": page,
        "summary.csv": tables.comma_separated(summaries),
        "summary.md": tables.markdown(summaries),
    }
    for name, text in texts.items():
        (folder / name).write_text(in_unit(text, plan.unit))
    return summaries


def headline(summaries: list[Summary]) -> str:
    """One sentence for all profiles: the largest number that one of them asks for."""
    answers = [summary.answer for summary in summaries if summary.answer.smallest is not None]
    if not answers:
        return "This run has no answer."
    needed = max(answer.smallest or 0 for answer in answers)
    perhaps = max(answer.largest or 0 for answer in answers)
    text = f"Run {needed} worker{'s' if needed > 1 else ''}"
    if perhaps > needed:
        text += f", or perhaps up to {perhaps}: this run cannot tell them apart"
    if missing := [summary.title for summary in summaries if summary.answer.smallest is None]:
        text += f"; no answer for {', '.join(missing)}"
    return f"{text}."


def reservation(summary: Summary) -> str:
    """Words what the answer leaves open because Locust shares the cores."""
    chosen = [row for row in summary.rows if row.workers == summary.answer.smallest]
    share = chosen[0].generator_share if chosen else None
    if share is None:
        return ""
    return (
        f"Locust took {100 * share:.0f} % of the CPU beside it: "
        "with load from another machine, more workers may be worth it."
    )


def bars(summary: Summary) -> list[dict[str, Any]]:
    """Returns throughput by number of workers: the reason of the answer, beside it."""
    most = max((row.rate.mid for row in summary.rows if row.cells), default=0) or 1  # nothing was answered
    return [
        {
            "workers": f"{row.workers} worker{'s' if row.workers > 1 else ''}",
            "width": round(100 * row.rate.mid / most, 1) if row.cells else 0,
            "says": f"{tables.number(row.rate.mid if row.cells else None)}/s{_verdict(summary, row)}",
            "chosen": row.workers == summary.answer.smallest,
        }
        for row in summary.rows
    ]


def _verdict(summary: Summary, row: Row) -> str:
    verdict = summary.answer.verdicts.get(row.workers)
    return f": {verdict.value}" if verdict else ""


def curve(summary: Summary) -> str:
    """Words the fit: what each worker adds, and where it ends."""
    ceiling, most = summary.ceiling, summary.rows[-1].workers
    if ceiling is None:
        return ""
    adds = f"Each worker adds about {ceiling.each:,.0f} requests/s"
    if ceiling.cores >= most - 0.1:
        return f"{adds}, up to the largest number measured."
    if ceiling.cores <= summary.rows[0].workers:
        return "More workers add nothing."
    return f"{adds}, up to about {ceiling.each * ceiling.cores:,.0f} for the whole machine."


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
