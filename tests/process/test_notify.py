"""What systemd is told."""

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from tests.process.notifications import Notifications
from tests.support import web
from tests.support.load import Load
from tests.support.service import Service, is_alive, running, wait_until


def test_ready_is_said_once_and_only_when_all_workers_are(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with Notifications(tmp_path) as systemd:
        service = Service(tmp_path, app="gated", COACHMAN_WORKERS="3", NOTIFY_SOCKET=systemd.address)
        with running(service, ready=False):
            assert wait_until(lambda: service.log().count("Booting worker") == 3), service.log()
            assert wait_until(lambda: systemd.status().startswith("0/3 workers ready")), service.log()
            gate.with_suffix(".pass").touch()
            # The status is told after what a READY=1 would be told by.
            assert wait_until(lambda: systemd.status().startswith("1/3 workers ready")), service.log()
            assert systemd.count("READY=1") == 0
            gate.unlink()
            assert wait_until(lambda: systemd.count("READY=1") == 1), service.log()
            assert web.get(f"{service.ops_url}/readyz").json()["ready"] == 3

            os.kill(min(service.worker_pids()), signal.SIGKILL)
            assert wait_until(lambda: sum(slot["restarts"] for slot in service.slots()) == 1), service.log()
            service.wait_ready()
            service.process.send_signal(signal.SIGTERM)
            assert service.wait_end() == 0, service.log()
        assert wait_until(lambda: systemd.count("STOPPING=1") == 1), service.log()
        assert systemd.count("READY=1") == 1


@pytest.mark.timing
def test_the_status_counts_and_comes_once_a_second_at_most(tmp_path: Path) -> None:
    with Notifications(tmp_path) as systemd:
        service = Service(tmp_path, app="probe", COACHMAN_WORKERS="4", NOTIFY_SOCKET=systemd.address)
        with running(service):
            with Load(service.port, "/pid", clients=4, pause=0.002) as load:
                assert wait_until(lambda: load.served() > 1300 and len(systemd.statuses()) > 2), service.log()
            total = f"4/4 workers ready, {load.served():,} requests, generation 1"
            assert wait_until(lambda: systemd.status() == total), f"{systemd.statuses()} not {total}"
            seen = len(systemd.statuses())
            assert not wait_until(lambda: len(systemd.statuses()) > seen, seconds=1.5), "said again unchanged"
    # READY=1 brings its own, at once.
    ready_at = systemd.last("READY=1")
    times = [at for at, status in systemd.statuses() if at > ready_at and "workers ready" in status]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(times)), systemd.statuses()


def test_the_watchdog_is_fed_only_while_a_worker_is_ready(tmp_path: Path) -> None:
    with Notifications(tmp_path) as systemd:
        service = Service(
            tmp_path,
            app="starts",
            COACHMAN_WORKERS="1",
            NOTIFY_SOCKET=systemd.address,
            WATCHDOG_USEC="2000000",
        )
        with running(service):
            assert wait_until(lambda: systemd.count("WATCHDOG=1")), service.log()
            (tmp_path / "fail").touch()
            os.kill(service.slots()[0]["pid"], signal.SIGKILL)
            assert wait_until(lambda: time.monotonic() - systemd.last("WATCHDOG=1") > 2.5), service.log()
            (tmp_path / "fail").unlink()
            silent = systemd.last("WATCHDOG=1")
            assert wait_until(lambda: systemd.last("WATCHDOG=1") > silent), service.log()


def test_the_watchdog_is_fed_only_while_a_worker_responds(tmp_path: Path) -> None:
    with Notifications(tmp_path) as systemd:
        service = Service(
            tmp_path,
            app="probe",
            COACHMAN_WORKERS="1",
            COACHMAN_HANG_SECONDS="5",
            NOTIFY_SOCKET=systemd.address,
            WATCHDOG_USEC="2000000",
        )
        with running(service):
            assert wait_until(lambda: systemd.count("WATCHDOG=1")), service.log()
            stopped = service.slots()[0]["pid"]
            os.kill(stopped, signal.SIGSTOP)
            assert wait_until(lambda: not is_alive(stopped)), service.log()
            fed_before = systemd.count("WATCHDOG=1")
            assert wait_until(lambda: systemd.count("WATCHDOG=1") > fed_before), service.log()
    times = systemd.times("WATCHDOG=1")
    # Stopped it looks ready for as long as the limit; from there to its end, a second later, nobody serves.
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 1.7, times


def test_without_a_watchdog_it_is_not_fed(tmp_path: Path) -> None:
    with Notifications(tmp_path) as systemd:
        service = Service(tmp_path, app="probe", COACHMAN_WORKERS="1", NOTIFY_SOCKET=systemd.address)
        with running(service):
            assert wait_until(lambda: systemd.count("READY=1") == 1), service.log()
            assert not wait_until(lambda: systemd.count("WATCHDOG=1"), seconds=2.5), service.log()
