"""The page says what was measured, in one file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from loadtests.cells import Cells, Task
from loadtests.compare import describe
from loadtests.report.page import write_report
from tests.loadtests.runs import PLAN, cell, run


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = run(tmp_path / "run")
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
