"""The status page, in a real browser."""

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.process.scrape import scrape
from tests.support import web
from tests.support.browser import Page
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.service import Service, running, wait_until

pytestmark = pytest.mark.browser
NONE = "\u2013"  # what stands where nothing is known
SUMS, CONTRAST = (Path(__file__).with_name(name) for name in ("sums.js", "contrast.js"))


def open_live(page: Page, service: Service) -> None:
    page.open(f"{service.ops_url}/")
    page.wait("document.getElementById('link')?.dataset.link === 'live'")


def cell(slot: int, label: str) -> str:
    return f"document.querySelector('#slot-{slot} [data-label=\"{label}\"]').innerText"


def test_a_killed_workers_slot_goes_and_comes_back(page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service = Service(tmp_path, app="gated")
    with running(service):
        open_live(page, service)
        page.wait("document.getElementById('verdict-text').innerText === 'All 2 workers serve'")
        service.wait_settled()
        fed_by = service_worker_that_feeds(page)
        victim = next(slot for slot in service.slots() if slot["pid"] != fed_by)
        assert page.ask(cell(victim["slot"], "Pid")) == str(victim["pid"])
        gate.touch()
        os.kill(victim["pid"], signal.SIGKILL)

        page.wait(f"{cell(victim['slot'], 'State')} === 'starting'")
        page.wait("document.getElementById('verdict').dataset.status === 'degraded'")
        page.wait("document.querySelector('#events').innerText.includes('degraded')")
        assert f"Worker in slot {victim['slot']} (pid {victim['pid']}) was killed by SIGKILL" in page.text(
            "#events"
        )
        gate.unlink()
        page.wait(f"{cell(victim['slot'], 'State')} === 'ready'")
        page.wait("document.getElementById('verdict-text').innerText === 'All 2 workers serve'")
        page.wait("document.querySelectorAll('[data-graph=requests] .mark.kill').length === 1")
        assert page.ask(cell(victim["slot"], "Pid")) != str(victim["pid"])
        assert page.ask(cell(victim["slot"], "Restarts")) == "1"
        assert "crashed (SIGKILL)" in page.ask(cell(victim["slot"], "Last exit"))


def service_worker_that_feeds(page: Page) -> int:
    return int(page.text("#fed").split()[3])


def test_the_page_goes_on_when_the_worker_that_feeds_it_is_killed_or_stopped(
    page: Page, tmp_path: Path
) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        # Whatever it says in between is kept, for it may last no longer than a moment.
        page.ask(
            "new MutationObserver(() => (window.said = (window.said || []).concat(link.innerText)))"
            ".observe(link, {childList: true}), 0"
        )
        for signum in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
            service.wait_settled()
            fed_by = service_worker_that_feeds(page)
            page.ask("window.said = [], 0")
            os.kill(fed_by, signum)
            page.wait(f"!document.getElementById('fed').innerText.includes('worker {fed_by} ')")
            page.wait("document.getElementById('link').innerText === 'Live'")
            assert "Reconnecting" in page.ask("window.said"), signum
            if signum == signal.SIGSTOP:
                os.kill(fed_by, signal.SIGCONT)
    page.wait("document.getElementById('link').innerText.startsWith('Stopped at')")
    page.complaints = [one for one in page.complaints if "ERR_" not in one]  # connections that were cut


def test_a_handover_shows_its_steps_and_both_generations(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        page.wait("document.querySelectorAll('#slots tbody tr').length === 2")
        service.begin_handover("start")
        page.wait("document.querySelectorAll('#steps [data-step=done]').length === 2")
        assert page.text("#steps [data-step=now]") == "starts"
        page.wait("document.querySelectorAll('#slots .generation').length === 2")
        titles = page.ask("[...document.querySelectorAll('#pair h3')].map((title) => title.innerText)")
        assert titles[0].startswith("Generation 1 serves, master ")
        assert titles[1].startswith("Generation 2 is to take over, master ")
        page.wait("document.querySelectorAll('#pair .tile').length === 4")
        page.wait("document.querySelectorAll('#slots tbody tr:not(.generation)').length === 4")
        assert page.text("#now-ready") == "2 of 2", "a handover is no moment with twice the workers"
        for width in (400, 1280):
            page.resize(width, 800)
            assert page.ask("document.documentElement.scrollWidth") <= width

        service.gate.unlink()
        page.wait("document.getElementById('service').innerText.includes('generation 2')")
        page.wait("document.getElementById('link').innerText === 'Live'")
        page.wait("document.getElementById('events').innerText.includes('handed-over')")
        page.wait("document.querySelectorAll('#steps [data-step=done]').length === 5")
        page.wait("document.querySelectorAll('[data-graph=ready] .mark.handover').length === 1")
        page.wait("document.querySelectorAll('#slots tbody tr').length === 2")
        assert page.text("#now-ready") == "2 of 2"
    page.complaints = [one for one in page.complaints if "ERR_" not in one]


def test_why_a_worker_does_not_start_stands_on_the_page_and_in_readyz(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    fails = "if pathlib.Path(os.environ['GATE']).exists(): raise OSError('the gateway does not answer')"
    service.release("1", at_start=fails)
    with running(service):
        open_live(page, service)
        service.wait_settled()
        service.gate.touch()
        os.kill(service.slots()[1]["pid"], signal.SIGKILL)
        page.wait("document.getElementById('causes').innerText.includes('failures in a row')")
        page.wait("document.getElementById('verdict-text').innerText === 'Degraded: 1 of 2 workers serves'")
        page.wait(f"{cell(1, 'State')} === 'backing-off' && {cell(1, 'CPU')} === '{NONE}'")
        assert "Slot 1 does not start: the gateway does not answer (" in page.text("#causes")
        assert "the gateway does not answer (" in service.slots()[1]["start_error"]
        page.wait("document.getElementById('events').innerText.match(/. [3-9] in \\d/)")
        kinds = page.ask("[...document.querySelectorAll('#events .kind')].map((kind) => kind.innerText)")
        assert kinds.count("boot-failed") == 1, page.text("#events")
        page.wait("/next (try )?in \\d+ s/.test(document.getElementById('causes').innerText)")
        service.gate.unlink()
        page.wait("document.getElementById('verdict-text').innerText === 'All 2 workers serve'")
        page.wait("document.getElementById('causes').hidden")
    page.complaints = [one for one in page.complaints if "ERR_" not in one]  # the killed one may have fed it


def test_a_worker_that_hangs_is_amber_and_the_verdict_says_so(page: Page, tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_HANG_SECONDS="200")
    with running(service):
        open_live(page, service)
        page.wait("document.getElementById('verdict-text').innerText === 'All 2 workers serve'")
        # The page may have to ask another worker first.
        held = tmp_path / "held"
        held.touch()
        with service.asked("/block-until-let-go"):
            page.wait("document.querySelector('#slots [data-state=stuck]') !== null")
            page.wait("document.getElementById('verdict-text').innerText.endsWith(' is stuck')")
            assert page.text("#verdict-text").startswith("1 of 2 workers serves, slot ")
            page.wait("/stuck \\d+ s, killed in 1\\d\\d s/.test(document.getElementById('causes').innerText)")
            assert page.ask("document.getElementById('verdict').dataset.status") == "degraded"
            held.unlink()
        page.wait("document.getElementById('verdict-text').innerText === 'All 2 workers serve'")
    page.complaints = [one for one in page.complaints if "ERR_" not in one]


@pytest.mark.timing
def test_the_numbers_are_those_of_known_traffic(page: Page, tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", THREADS="3")
    sleeps, each = 40, 0.2
    with running(service):
        open_live(page, service)
        with web.Client(base_url=service.url, timeout=30) as client:
            for _ in range(sleeps):
                client.get(f"/sleep/{each}")
        requests = [cell(slot, "Requests") for slot in (0, 1)]
        assert wait_until(lambda: sum(int(page.ask(one)) for one in requests) == sleeps), service.log()
        told = web.get(f"{service.ops_url}/status.json").json()
        busy = [second for second in told["history"] if second["requests"]]
        assert sum(second["requests"] for second in busy) == pytest.approx(sleeps, rel=0.3), busy
        # A slow machine adds to each, and one second's share of a request may fall into the next.
        mean = sum(second["busy"] for second in busy) / sum(second["requests"] for second in busy)
        assert 0.8 * each < mean < 2 * each, busy
        assert all(0.1 <= second["p50"] <= 2.5 for second in busy), busy
        assert sum(slot["busy_seconds"] for slot in told["slots"]) >= sleeps * each

        held = [threading.Thread(target=web.get, args=(f"{service.url}/sleep/4",)) for _ in range(5)]
        for one in held:
            one.start()
        page.wait("document.getElementById('now-in_flight').innerText === '5.0'")
        for one in held:
            one.join()
        page.wait("document.getElementById('now-in_flight').innerText === '0.0'")


def test_page_terminal_readyz_and_metrics_have_the_same_numbers(page: Page, tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_WORKERS="3")
    found, missing = 20, 7
    with running(service):
        open_live(page, service)
        for number in range(found + missing):  # a connection each, so that all workers have some
            web.get(f"{service.url}/{'pid' if number < found else 'nothing-here'}")

        def all_told() -> bool:
            return scrape(service).sum("coachman_http_requests_total") == found + missing

        assert wait_until(all_told), service.log()
        page.wait("document.querySelector('#slots tfoot tr') !== null")
        page.wait(f"{total('Requests')} === '{found + missing}'")
        page.wait("document.getElementById('routes').innerText.includes('/pid')")
        page.wait(
            "[...document.querySelectorAll('#routes [data-label=Requests]')]"
            f".reduce((sum, cell) => sum + Number(cell.innerText), 0) === {found + missing}"
        )
        now, report = scrape(service), service.report()
        shown = web.get(f"{service.ops_url}/status.json").json()
        assert report["requests"] == shown["requests"] == now.sum("coachman_generation_requests")
        assert shown["requests"] == sum(slot["requests"] for slot in shown["slots"]) == found + missing
        routes = {row["route"]: row for row in shown["traffic"]["routes"]}
        assert (routes["/pid"]["requests"], routes["/pid"]["errors"]) == (found, 0)
        assert (routes["unmatched"]["requests"], routes["unmatched"]["errors"]) == (missing, missing)
        assert sum(routes["/pid"]["buckets"]) == found
        assert routes["/pid"]["compiled"] is True
        assert sum(shown["traffic"]["answered"].values()) == now.sum("coachman_application_requests_total")
        assert (
            (report["ready"], report["workers"]) == (shown["now"]["ready"], shown["now"]["wanted"]) == (3, 3)
        )
        assert shown["cpus"] <= (os.cpu_count() or 1)
        assert shown["about"]["module"] == "acts:app"
        assert page.text("#now-ready") == "3 of 3"
        printed = json.loads(service.ask("status", "--json").stdout)
        same = ("requests", "ready", "workers", "generation", "status")
        assert {key: printed[key] for key in same} == {key: report[key] for key in same}
        by_slot = [(slot["slot"], slot["pid"], slot["requests"]) for slot in shown["slots"]]
        assert [(slot["slot"], slot["pid"], slot["requests"]) for slot in printed["slots"]] == by_slot
        table = service.ask("status").stdout
        assert f"3/3 workers ready, {found + missing} requests, generation 1" in table
        rows = re.findall(r"^ +(\d)  ready  (\d+) +\d+ \w+ +(\d+)", table, re.MULTILINE)
        assert [tuple(map(int, row)) for row in rows] == by_slot, table
        assert page.text("#application") == "acts:app"
        assert page.ask("document.getElementById('docs').href") == f"{service.url}/docs"
        with Load(service.port, "/pid", clients=6, pause=0.002) as load:
            assert wait_until(lambda: load.served() > 300), service.log()
            for _ in range(10):
                shown = web.get(f"{service.ops_url}/status.json").json()
                assert_adds_up(shown)
                assert page.ask(SUMS.read_text()) == [], "cards, rows and sums of the page"


def assert_adds_up(shown: dict[str, Any]) -> None:
    """The figures are the sums of the slots, and the newest second of the graphs."""
    now, slots, own = shown["now"], shown["slots"], shown["generations"][0]["own"]
    known = [slot for slot in slots if slot["requests_rate"] is not None]
    if len(known) < len(slots):
        return  # a second that a worker has not had
    assert now == shown["history"][-1]
    for name, key in (
        ("requests", "requests_rate"),
        ("errors", "errors_rate"),
        ("in_flight", "in_flight_mean"),
    ):
        assert now[name] == pytest.approx(sum(slot[key] for slot in slots), abs=0.01), name
    assert now["cpu"] == pytest.approx(sum(slot["cpu"] for slot in slots) + own["cpu"], abs=0.001)
    assert now["memory"] == sum(slot["memory"] for slot in slots) + own["memory"]
    assert now["memory"] < now["rss"], "shared pages count once"


def total(label: str) -> str:
    return f"document.querySelector('#slots tfoot tr:last-child [data-label=\"{label}\"]').innerText"


def test_each_graph_tells_a_second_by_mouse_and_by_keyboard(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        page.wait("document.querySelectorAll('.plot path.line').length >= 6")
        page.wait("document.querySelector('[data-graph=memory] .top').innerText.includes('MiB')")
        page.ask("document.querySelector('[data-graph=cpu] .plot').focus()")
        page.press("ArrowLeft")
        page.wait("document.querySelectorAll('.cursor').length === 7")
        assert page.text("#moment") in page.ask("document.activeElement.getAttribute('aria-valuetext')")
        page.press("Escape")
        page.wait("document.querySelectorAll('.cursor').length === 0")
        place = page.ask(
            "(() => { const box = document.querySelector('[data-graph=ready] .plot').getBoundingClientRect();"
            " return [box.right - 2, box.top + 20]; })()"
        )
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        page.wait("document.querySelectorAll('.cursor').length === 7")
        assert page.text("#now-ready") == "2 of 2"


def test_the_page_works_by_keyboard_in_the_dark_and_on_a_phone(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        page.press("Tab")
        assert page.ask("document.activeElement.className") == "skip"
        for name in ("docs", "pause"):
            page.press("Tab")
            assert page.ask("document.activeElement.id") == name
        page.press("p")
        assert page.text("#link") == "Paused"
        stands = page.text("#fed")
        assert not wait_until(lambda: page.text("#fed") != stands, seconds=2.5)
        page.press("p")
        page.wait(f"document.getElementById('fed').innerText !== '{stands}'")
        assert page.text("#link") == "Live"

        light = page.ask("getComputedStyle(document.body).backgroundColor")
        page.prefer(scheme="dark")
        assert page.ask("getComputedStyle(document.body).backgroundColor") != light
        for scheme in ("dark", "light"):
            page.prefer(scheme=scheme)
            assert page.ask(CONTRAST.read_text()) == [], scheme
        for width in (1280, 1000, 700, 400, 320):
            page.resize(width, 800)
            assert page.ask("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
        # State and load of each slot are seen without scrolling to the table.
        tiles = page.ask("[...document.querySelectorAll('#tiles .tile')].map((tile) => tile.innerText)")
        assert len(tiles) == 2
        assert all("/s" in tile and "ready" in tile for tile in tiles), tiles
        assert page.ask("document.getElementById('tiles').offsetHeight") > 0


def test_states_differ_by_more_than_their_colour(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        shapes = page.ask(
            """["starting", "ready", "draining", "dead", "backing-off", "stuck"].map((state) => {
                const whole = document.querySelector("#slot-0 .state");
                whole.dataset.state = state;
                const style = getComputedStyle(whole.querySelector(".shape"));
                return [style.borderRadius, style.borderWidth, style.clipPath].join();
            })"""
        )
    assert len(set(shapes)) == 6, shapes


def test_an_open_page_does_not_hold_up_a_stop(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_DRAIN_SECONDS="300")
    with running(service):
        open_live(page, service)
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
    assert "ERROR" not in service.log()
    page.complaints = [one for one in page.complaints if "ERR_" not in one]
