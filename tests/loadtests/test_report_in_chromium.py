"""The reports as a reader sees them: in a real browser, by mouse, by keyboard, in the dark, on a phone."""

from pathlib import Path

import pytest

from loadtests.report.drill_page import write_drill_report
from loadtests.report.page import write_report
from tests.loadtests.runs import drilled, run
from tests.support.browser import Page
from tests.support.service import REPOSITORY

pytestmark = pytest.mark.browser
CONTRAST = (REPOSITORY / "tests" / "process" / "contrast.js").read_text()
SHOWN = "[...document.querySelectorAll('.tip')].filter((tip) => tip.offsetHeight).map((tip) => tip.innerText)"
# The radio buttons of the charts that are shown.
MARKS = "[...document.querySelectorAll('.mark input')].filter((input) => input.offsetParent)"
# Tables that go on without a shadow and a way to move them by keyboard; on a phone a hint is wanted, too.
MUTE = """[...document.querySelectorAll('.table')].filter((one) => one.scrollWidth > one.clientWidth + 1)
  .filter((one) => one.tabIndex !== 0 || !getComputedStyle(one).backgroundImage.includes('gradient')
    || !one.ariaLabel || (innerWidth <= 700 && !one.previousElementSibling?.matches('.sideways')))
  .map((one) => one.ariaLabel)"""
OFF = """(() => {
  const number = (text) => parseFloat(text.replaceAll(',', ''));
  const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
  const cells = (row) => [...row.cells].map((cell) => number(cell.innerText));
  const rows = (table) => [...table.tBodies[0].rows].map(cells);
  const [figures, repeats] = [...document.querySelectorAll('.table table')].slice(0, 2).map(rows);
  return figures.slice(1).map((row, index) =>
    Math.abs(row[4] - median(repeats.map((block) => block[index + 2] / block[1]))));
})()"""


def open_report(page: Page, folder: Path) -> None:
    page.open(f"file://{folder}/report.html")
    page.wait("document.readyState === 'complete' && !!document.querySelector('.answer')")


def assert_readable(page: Page) -> None:
    for scheme in ("dark", "light"):
        page.prefer(scheme=scheme)
        page.ask(f"{MARKS}[1].focus()")
        assert page.ask(CONTRAST) == [], scheme
    for width in (1280, 1000, 700, 400, 320):
        page.resize(width, 800)
        for mark in range(page.ask(f"{MARKS}.length")):
            page.ask(f"{MARKS}[{mark}].focus()")
            assert page.ask("document.documentElement.scrollWidth") <= width, f"{width} px, place {mark}"
        assert page.ask(MUTE) == [], f"tables that do not show that they scroll, at {width} px"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (400, 800)])
def test_the_first_screen_says_how_many_workers_and_why(
    page: Page, tmp_path: Path, width: int, height: int
) -> None:
    folder = run(tmp_path / "run")
    write_report(folder)
    page.resize(width, height)
    open_report(page, folder)

    assert page.text(".answer") == "Run 2 workers; no answer for Reading from the database."
    assert page.text(".bars .chosen").startswith("2 workers")
    assert page.text(".bars .chosen").endswith("/s: fits")
    assert page.ask("document.querySelector('.bars').getBoundingClientRect().bottom") < height


def test_a_chart_shows_its_values_by_mouse_and_by_keyboard(page: Page, tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    write_report(folder)
    open_report(page, folder)
    assert page.ask(SHOWN) == []

    page.ask(f"{MARKS}[0].focus()")
    page.press("ArrowRight")
    (shown,) = page.ask(SHOWN)
    assert shown.startswith("2 workers")
    assert "requests/s" in shown
    assert page.ask("document.activeElement.ariaLabel").startswith("2 workers: 1,4")
    page.press("Tab")
    assert page.ask("document.activeElement.name") == "labels-latency", "a chart is one stop of Tab"

    x, y = page.ask(
        "(() => { const mark = document.querySelectorAll('.mark')[3]; mark.scrollIntoView({block: 'center'});"
        " const box = mark.getBoundingClientRect(); return [box.x + box.width / 2, box.y + 20]; })()"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait(f"{SHOWN}.some((tip) => tip.startsWith('4 workers'))")


def test_a_comparison_can_be_read_at_any_width_and_in_the_dark(page: Page, tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    write_report(folder)
    open_report(page, folder)

    assert_readable(page)
    assert page.ask(
        "[...document.querySelectorAll('.table')].some((one) => one.scrollWidth > one.clientWidth)"
    )


def test_ratios_are_those_of_the_repeats_that_the_page_lists(page: Page, tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    write_report(folder)
    open_report(page, folder)
    page.ask("document.querySelectorAll('details').forEach((one) => (one.open = true))")

    off = page.ask(OFF)
    assert len(off) == 3
    assert all(one <= 0.011 for one in off), off


def test_a_drill_shows_each_kill_on_one_time_axis_at_any_width(page: Page, tmp_path: Path) -> None:
    folder = drilled(tmp_path / "drill")
    write_drill_report(folder)
    open_report(page, folder)

    assert "all of them in flight at a kill" in page.text(".answer")
    tiles = page.ask("[...document.querySelectorAll('.card')].map((card) => card.innerText)")
    assert "Passed means: only requests that were in flight at a kill were lost" in tiles[0]
    assert "in 3 crashes, " in tiles[1]
    assert "in one hang of 3 s" in tiles[1]
    assert page.ask("document.querySelectorAll('.wide svg').length") == 1, "both charts share their axis"
    page.ask(f"{MARKS}[2].focus()")
    (shown,) = page.ask(SHOWN)
    assert shown.startswith("Second 3")
    assert "SIGKILL to worker 40100: next ready after 54 ms" in " ".join(shown.split())
    assert_readable(page)
    page.resize(400, 800)
    assert page.ask("document.querySelector('.narrow').offsetHeight") > 0
    assert page.ask("document.querySelector('.narrow svg').getBoundingClientRect().right") <= 400
