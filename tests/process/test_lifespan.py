"""An application whose lifespan dies while its worker serves."""

import itertools
import re
from pathlib import Path

from tests.support import web
from tests.support.service import FAST, Service, running, wait_until


def test_a_worker_whose_lifespan_has_died_is_replaced_and_says_why(tmp_path: Path) -> None:
    service = Service(tmp_path, app="dying")
    with running(service):
        service.wait_ready()
        old = service.worker_pids()
        victim = web.get(f"{service.url}/die").json()

        assert wait_until(lambda: len(service.worker_pids() - old) == 1 and service.is_ready()), service.log()
        assert service.worker_pids() & old == old - {victim}, "the other worker serves on"
        log = service.log()
        assert "The application's lifespan has ended by itself: the consumer lost its broker (" in log, log
        [ended] = [slot for slot in service.slots() if slot["last_exit"]]
        assert ended["failures"] == 1, "it is a failure, and failures back off"
        assert web.get(f"{service.url}/pid").status_code == 200


def test_a_lifespan_that_dies_again_after_each_start_makes_its_slot_wait_ever_longer(tmp_path: Path) -> None:
    """Each worker serves for longer than the uptime below which an end counts as a failed start."""
    service = Service(tmp_path, app="dying", COACHMAN_WORKERS="1")
    (tmp_path / "die-after").write_text("1.0")
    with running(service):
        assert wait_until(lambda: len(delays(service.log())) >= 4), service.log()
        (tmp_path / "die-after").unlink()
        service.wait_settled()
        [slot] = service.slots()

        assert slot["failures"] >= 4, slot
        assert slot["last_exit"]["reason"] == "lifespan-ended", slot
    log = service.log()
    assert all(later > before for before, later in itertools.pairwise(delays(log))), log
    assert log.count("ended by itself: the consumer lost its broker (") == len(delays(log)), log


def delays(log: str) -> list[float]:
    """For how long the slot has waited after each death of a lifespan."""
    line = r"lifespan had ended \(failed start \d+ of this slot\); the next one starts in ([\d.]+) s"
    return [float(seconds) for seconds in re.findall(line, log)]


LONG = {"COACHMAN_KEEPALIVE_SECONDS": "120", "COACHMAN_DRAIN_SECONDS": "180"}


def test_a_worker_that_has_served_for_long_is_replaced_while_it_drains(tmp_path: Path) -> None:
    service = Service(tmp_path, app="dying", COACHMAN_WORKERS="1", **LONG)
    service.config = tmp_path / "stable.py"
    service.config.write_text(
        "import coachman.state.view\ncoachman.state.view.STABLE_SECONDS = 0.3\n"
        f"__file__ = {str(FAST)!r}\nexec(open(__file__).read())"
    )
    with running(service), service.asked("/pid") as idle:
        victim = int(idle.getresponse().read())  # which its connection keeps meanwhile
        service.wait_settled()
        web.get(f"{service.url}/die")

        assert wait_until(lambda: service.is_ready() and victim not in service.worker_pids())
        assert "exited with code 70" not in service.log(), "it has not been waited for"
        idle.request("GET", "/pid")
        assert int(idle.getresponse().read()) == victim
        assert wait_until(lambda: "exited with code 70" in service.log()), service.log()
        [slot] = service.slots()
    assert slot["failures"] == 0, service.log()
