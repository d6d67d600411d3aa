"""Workers that die, and workers that cannot be had: the others serve on."""

import itertools
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.process.notifications import Notifications
from tests.support import web
from tests.support.load import Load
from tests.support.service import Service, running, wait_until

FIRST_DELAYS = [0.1, 0.2, 0.4, 0.8]
JITTER = 0.25
TOLD = re.compile(r"the next one starts in ([\d.]+) s")


def start_times(folder: Path) -> list[float]:
    return [float(line) for line in (folder / "times").read_text().splitlines()]


def assert_each_waited_longer(times: list[float]) -> None:
    """Each delay is twice the one before, give or take the jitter: 20 seconds hold at most nine starts."""
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    for wait, delay in zip(waits, FIRST_DELAYS, strict=False):
        assert wait >= delay * (1 - JITTER), f"{waits}"


def test_each_kill_costs_only_what_the_killed_worker_held(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="4")
    with (
        running(service),
        Load(service.port, "/pid", clients=8, pause=0.01) as kept,
        Load(service.port, "/pid", clients=2, keep_alive=False, pause=0.01) as one_shot,
    ):
        killed: list[bytes] = []
        held = 0
        for _ in range(5):
            workers = service.worker_pids()
            assert wait_until(lambda: None not in kept.answered_by()), f"{kept.outcomes}\n{service.log()}"
            connections = kept.answered_by()  # nothing may lie between this and the kill
            victim = max(filter(None, connections), key=connections.count)
            os.kill(int(victim), signal.SIGKILL)
            killed.append(victim)
            held += connections.count(victim)
            survivors = workers - {int(victim)}
            assert wait_until(lambda: len(service.worker_pids() - set(map(int, killed))) == 4), service.log()
            assert service.worker_pids() > survivors, "a healthy worker was restarted too"
        assert sum(slot["restarts"] for slot in service.slots()) == 5

    told = f"{kept.outcomes} {kept.failures}\n{one_shot.outcomes}\n{service.log()}"
    assert {failure.answered_by for failure in kept.failures} <= set(killed), f"a bystander: {told}"
    assert len(kept.failures) <= held, told
    assert len(one_shot.failures) <= 2 * 5, f"a client lost two requests to one kill: {told}"
    assert {failure.outcome for failure in kept.failures + one_shot.failures} <= {"reset", "truncated"}, told


def test_a_worker_without_its_dependency_starts_ever_more_seldom_and_is_back_after_it(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path, app="starts")
    with running(service), Load(service.port, "/pid", clients=4, pause=0.01) as load:
        service.wait_settled()
        assert wait_until(lambda: None not in load.answered_by()), load.outcomes
        (tmp_path / "fail").touch()
        victim, survivor = service.slots()
        os.kill(victim["pid"], signal.SIGKILL)
        assert wait_until(lambda: len(start_times(tmp_path)) >= 2 + 1 + len(FIRST_DELAYS)), service.log()

        (tmp_path / "fail").unlink()
        service.wait_ready()
        back = service.slots()

    starts = start_times(tmp_path)[2:]
    assert_each_waited_longer(starts)
    told = [float(delay) for delay in TOLD.findall(service.log())]
    expected = [FIRST_DELAYS[0] * 2**number for number in range(len(starts) - 1)]
    assert told == pytest.approx(expected, rel=JITTER + 0.03), "so long, and no longer\n" + service.log()
    assert {failure.answered_by for failure in load.failures} <= {str(victim["pid"]).encode()}, service.log()
    assert len(load.failures) <= 4, f"{load.outcomes}\n{service.log()}"
    assert back[1]["pid"] == survivor["pid"], "the healthy worker was restarted too"
    assert back[0]["last_exit"]["reason"] == "boot-failed"
    assert back[0]["restarts"] == len(starts)


def test_a_worker_that_crashes_right_after_ready_backs_off_and_the_status_says_degraded(
    tmp_path: Path,
) -> None:
    with Notifications(tmp_path) as systemd:
        # So long that a crash 0.1 s after ready counts as one of a start, however late it is seen.
        clock = {"TESTS_MIN_UPTIME_SECONDS": "3"}
        service = Service(tmp_path, app="starts", NOTIFY_SOCKET=systemd.address, **clock)
        with running(service):
            service.wait_settled()
            (tmp_path / "crash").touch()
            victim, survivor = service.slots()
            os.kill(victim["pid"], signal.SIGKILL)
            with Load(service.port, "/pid", clients=2, keep_alive=False, pause=0.01) as load:
                assert wait_until(lambda: service.slots()[0]["failures"] >= 4), service.log()
                assert wait_until(lambda: systemd.status().startswith("degraded: 1/2 workers ready"))
                (tmp_path / "crash").unlink()
                crashed = service.slots()[0]["last_exit"]
                service.wait_ready()
                assert wait_until(lambda: systemd.status().startswith("2/2 workers ready"))

            assert service.slots()[1]["pid"] == survivor["pid"], "the healthy worker was restarted too"

    assert_each_waited_longer(start_times(tmp_path)[2:])
    assert (crashed["code"], crashed["signal"], crashed["reason"]) == (1, None, "crashed"), service.log()
    # The crashing one takes what it holds with it, in each of its short lives.
    lives = len(start_times(tmp_path)) - 2
    assert len(load.failures) <= 2 * lives, f"{load.outcomes}\n{service.log()}"


def test_when_all_workers_fail_at_once_the_service_is_down_and_comes_back(tmp_path: Path) -> None:
    service = Service(tmp_path, app="starts")
    with running(service):
        service.wait_settled()
        (tmp_path / "fail").touch()
        for pid in service.worker_pids():
            os.kill(pid, signal.SIGKILL)
        # Nobody is left to answer on the ops listener: the log tells.
        assert wait_until(lambda: len(start_times(tmp_path)) >= 2 + 2 * 3), service.log()
        assert service.process.poll() is None, service.log()

        (tmp_path / "fail").unlink()
        service.wait_ready()
        assert {slot["last_exit"]["reason"] for slot in service.slots()} == {"boot-failed"}
        assert web.get(f"{service.url}/pid").status_code == 200


def test_a_kill_is_told_as_a_signal(tmp_path: Path) -> None:
    service = Service(tmp_path, app="starts")
    with running(service):
        killed_at = datetime.now(UTC)
        os.kill(service.slots()[1]["pid"], signal.SIGKILL)
        assert wait_until(lambda: service.last_exit(1)), service.log()

        told = service.last_exit(1)
        assert (told["code"], told["signal"], told["reason"]) == (-9, "SIGKILL", "crashed")
        assert killed_at - timedelta(seconds=0.1) <= datetime.fromisoformat(told["at"]) <= datetime.now(UTC)
