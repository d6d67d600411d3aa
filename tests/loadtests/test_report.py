"""The page says what was measured, in one file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from loadtests.cells import Cells, Phase, Task
from loadtests.compare import describe
from loadtests.recommend import Answer
from loadtests.report.page import headline, write_report
from loadtests.report.summary import Summary
from tests.loadtests.runs import PLAN, cell, run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For those who only read it."""
    folder = run(tmp_path_factory.mktemp("report") / "run")
    write_report(folder)
    return folder


def test_the_page_is_one_small_file_that_asks_for_nothing(report: Path) -> None:
    page = (report / "report.html").read_text()

    assert len(page) < 1_000_000
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:,)[^"]*"', page)
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", page)


def test_charts_are_told_in_words_and_share_no_ids(report: Path) -> None:
    page = (report / "report.html").read_text()

    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', page)) <= set(ids)
    assert page.count('<svg role="img" aria-label="') == page.count("<svg ") == 10
    assert "2 workers: 1,4" in page, "the throughput is in the text alternative"
    assert not re.findall(r"#0[1-6]0[1-6]0[1-6]", page), "a colour that does not follow light and dark"


def test_the_verdict_is_the_recommendation_and_an_honest_refusal(report: Path) -> None:
    page = (report / "report.html").read_text()

    assert "Run 2 workers: " in page or "2 to 3 workers: this run cannot tell them apart" in page
    assert "the load generator was the limit, not the server" in page
    assert (report / "summary.md").read_text().count("\n| ") == 2 * (2 + 4)
    lines = (report / "summary.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 4
    medians = {
        workers: float(np.median([c.per_second for c in Cells(report).read()
                                  if c.task.profile == "labels" and c.task.phase == "capacity"
                                  and c.task.workers == workers]))
        for workers in PLAN.workers
    }  # fmt: skip
    assert all(f"<td>{median:,.0f}</td>" in page for median in medians.values())


def test_a_disturbed_measurement_is_kept_and_left_out(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    task = Task(block=0, phase="capacity", profile="labels", workers=4)
    Cells(folder).append(cell(task, 99_999.0, accepted=False))

    (labels, _) = write_report(folder)

    assert labels.rows[3].rate.high < 2000
    assert len(labels.rows[3].dirty) == 1
    assert "disturbed by other processes (1)" in (folder / "report.html").read_text()


def test_failures_are_an_end_of_all_verdicts(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    task = Task(block=5, phase="capacity", profile="labels", workers=4)
    Cells(folder).append(cell(task, 1400.0, failures={"reset": 3}, flags=["failures"]))

    (labels, _) = write_report(folder)

    assert labels.answer.smallest is None
    assert "3 requests failed" in labels.answer.sentence
    assert "3 reset" in (folder / "report.html").read_text()


def test_percentiles_stand_by_route_and_those_of_all_routes_are_of_the_same_requests(report: Path) -> None:
    labels, _ = write_report(report)
    page = (report / "report.html").read_text()

    for row in labels.rows:
        assert row.routes[0].name == "GET /items/{item_id}"
        assert sum(route.requests for route in row.routes) == 3000 * len(row.latency_cells)
        for share in (50, 99):
            known = [route.percentile(share) or 0 for route in row.routes]
            assert min(known) <= (row.percentile(share) or 0) <= max(known)
    assert page.count('scope="rowgroup"') == 2 * 3
    first = labels.rows[0].routes[0]
    assert f"<td>{first.requests:,}</td><td>0</td><td>{first.percentile(50):.1f}</td>" in page


def test_a_run_of_an_older_version_has_its_percentiles_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    describe(folder, PLAN, None)
    phases: tuple[Phase, Phase] = ("capacity", "latency")
    for phase in phases:
        task = Task(block=0, phase=phase, profile="labels", workers=1)
        Cells(folder).append(cell(task, 700.0, routes={}))

    (labels,) = write_report(folder)

    assert (labels.rows[0].percentile(50), labels.rows[0].percentile(99)) == (5.0, 31.25)
    assert "<td>31.2</td>" in (folder / "report.html").read_text()


@pytest.mark.parametrize(("generator", "answered"), [(0.8, True), (1.6, False)])
def test_a_generator_that_takes_a_large_share_is_a_reservation_and_one_that_costs_more_the_end(
    tmp_path: Path, generator: float, answered: bool
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    describe(folder, PLAN, None)
    for block in range(5):
        for workers in (1, 2):
            task = Task(block=block, phase="capacity", profile="labels", workers=workers)
            flag = ["generator takes a large share"]
            Cells(folder).append(cell(task, 700.0 * workers, flags=flag, generator_cores=generator))

    (labels,) = write_report(folder)

    assert (labels.answer.smallest == 2) is answered
    page = (folder / "report.html").read_text()
    assert ("Locust took 35 % of the CPU beside it: with load from another machine" in page) is answered
    assert ("with 2 workers the load generator was the limit, not the server" in page) is not answered


def test_the_headline_is_the_most_that_a_profile_asks_for(tmp_path: Path) -> None:
    answers = {
        "Run 2 workers.": [(2, 2), (1, 1)],
        "Run 1 worker.": [(1, 1)],
        "Run 2 workers, or perhaps up to 4: this run cannot tell them apart.": [(2, 4), (1, 1)],
        "Run 3 workers; no answer for Two.": [(3, 3), (None, None)],
        "This run has no answer.": [(None, None)],
    }

    for text, ranges in answers.items():
        summaries = [
            Summary(str(n), ("One", "Two")[n], [], None, Answer(low, high, ""), None, None)
            for n, (low, high) in enumerate(ranges)
        ]
        assert headline(summaries) == text


def test_two_runs_are_compared(tmp_path: Path) -> None:
    before, after = run(tmp_path / "before"), run(tmp_path / "after", speedup=1.3)

    write_report(after, baseline=before)

    page = (after / "report.html").read_text()
    assert page.count(">faster</td>") == 8
    write_report(after, baseline=after)
    assert ">faster</td>" not in (after / "report.html").read_text()


def test_a_run_that_measured_nothing_has_a_page_that_says_so(tmp_path: Path) -> None:
    describe(tmp_path, PLAN, None)

    write_report(tmp_path, "Stopped by Ctrl-C")

    page = (tmp_path / "report.html").read_text()
    assert "Nothing was measured." in page
    assert "Stopped by Ctrl-C" in page
    assert json.loads((tmp_path / "run.json").read_text())["plan"]["seed"] == 7
