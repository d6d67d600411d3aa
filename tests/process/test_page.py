"""The status page, in a real browser."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import web
from tests.support.browser import Page, browser
from tests.support.generations import Generations
from tests.support.service import Service, running, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path) as page:
        page.resize(1280, 900)
        yield page
        assert not page.complaints, page.complaints


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
        page.wait("document.getElementById('verdict-text').innerText === 'All serve: 2 of 2'")
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
        page.wait("document.getElementById('verdict-text').innerText === 'All serve: 2 of 2'")
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
    page.wait("document.getElementById('link').innerText === 'Reconnecting'")
    page.complaints = [one for one in page.complaints if "ERR_" not in one]  # connections that were cut


def test_the_page_follows_a_handover_by_itself(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        code, said = service.coachman("handover", "--no-wait")
        assert code == 0, said
        page.wait("document.getElementById('master').innerText.startsWith('Generation 2')")
        page.wait("document.getElementById('link').innerText === 'Live'")
        page.wait("document.getElementById('events').innerText.includes('handed-over')")
    page.complaints = [one for one in page.complaints if "ERR_" not in one]


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
        assert sum(slot["busy_seconds"] for slot in told["slots"]) >= sleeps * each

        held = [threading.Thread(target=web.get, args=(f"{service.url}/sleep/4",)) for _ in range(5)]
        for one in held:
            one.start()
        page.wait("document.getElementById('now-in_flight').innerText === '5'")
        for one in held:
            one.join()
        page.wait("document.getElementById('now-in_flight').innerText === '0'")
        with web.Client(base_url=service.url, timeout=30) as client:
            means = []
            until = time.monotonic() + 4
            while time.monotonic() < until:
                client.get(f"/sleep/{each}")
                means.append(page.text("#now-latency"))
        shown = {float(mean.removesuffix(" ms")) for mean in means if mean.endswith(" ms")}
        assert any(1000 * each <= mean < 3000 * each for mean in shown), means


def test_the_page_works_by_keyboard_in_the_dark_and_on_a_phone(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        page.press("Tab")
        assert page.ask("document.activeElement.className") == "skip"
        page.press("Tab")
        assert page.ask("document.activeElement.id") == "pause"
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
        for width in (400, 320):
            page.resize(width, 800)
            assert page.ask("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
            assert page.ask(f"{cell(1, 'State')}").endswith("ready")


def test_states_differ_by_more_than_their_colour(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        shapes = page.ask(
            """["starting", "ready", "draining", "dead", "backing-off"].map((state) => {
                const whole = document.querySelector("#slot-0 .state");
                whole.dataset.state = state;
                const style = getComputedStyle(whole.querySelector(".shape"));
                return [style.borderRadius, style.borderWidth, style.clipPath].join();
            })"""
        )
    assert len(set(shapes)) == 5, shapes


def test_an_open_page_does_not_hold_up_a_stop(page: Page, tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        open_live(page, service)
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
        assert time.monotonic() - begun < 8
    assert "ERROR" not in service.log()
    page.complaints = [one for one in page.complaints if "ERR_" not in one]
