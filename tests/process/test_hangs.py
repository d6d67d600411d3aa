"""Workers that live and do nothing."""

import http.client
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import web
from tests.support.load import Load
from tests.support.service import Service, is_alive, running, wait_until

# One that only waits for CPU time is to stay. How fast the others are killed: the tests marked `timing`.
HANG_SECONDS = 5
ACT_SECONDS = 2  # from the limit to the first signal
LAST_WORD_SECONDS = 1  # from SIGABRT to SIGKILL
BOOT_SECONDS = 3  # of a replacement; the rest is the noise of the machine


def acts(folder: Path, **settings: str) -> Service:
    return Service(folder, app="acts", **{"COACHMAN_HANG_SECONDS": str(HANG_SECONDS), **settings})


def replaced(service: Service, before: set[int]) -> Callable[[], bool]:
    return lambda: service.is_ready() and len(service.worker_pids() - before) == 1


def reasons(service: Service) -> list[str]:
    return [slot["last_exit"]["reason"] for slot in service.slots() if slot["last_exit"]]


def assert_only_clients_of(pid: int, load: Load, service: Service) -> None:
    assert {failure.answered_by for failure in load.failures} <= {str(pid).encode(), None}, (
        f"a client of the healthy worker failed: {load.failures}\n{service.log()}"
    )
    assert len(load.failures) <= 4, f"{load.failures}\n{service.log()}"


def test_a_stopped_process_is_replaced_and_the_others_serve(tmp_path: Path) -> None:
    service = acts(tmp_path)
    with running(service), Load(service.port, "/pid", clients=4, pause=0.005) as load:
        before = service.worker_pids()
        victim = min(before)
        os.kill(victim, signal.SIGSTOP)

        assert wait_until(replaced(service, before)), service.log()
        assert reasons(service) == ["stopped-process"]

    assert_only_clients_of(victim, load, service)
    assert re.search(rf"CRITICAL.* slot \d .*{victim}.*stopped process", service.log()), service.log()


def test_a_stopped_worker_is_told_before_it_is_killed_and_ready_once_it_goes_on(tmp_path: Path) -> None:
    """/readyz of the other one, and `coachman status`, say so within seconds of the first late heartbeat."""
    service = acts(tmp_path, COACHMAN_HANG_SECONDS="90")
    with running(service):
        service.wait_settled()
        victim = min(service.worker_pids())
        os.kill(victim, signal.SIGSTOP)
        try:
            assert wait_until(lambda: not service.is_ready()), service.log()
            assert service.report()["status"] == "degraded"
            [slot] = [one for one in service.slots() if one["pid"] == victim]
            assert 2 <= slot["stuck_seconds"] <= 45  # rounded
            assert slot["stuck_seconds"] + slot["killed_in_seconds"] == pytest.approx(90, abs=1)
            printed = service.ask("status")
            assert re.search(r"stuck\s+for\s+\d+\s+s,\s+killed\s+in\s+\d+\s+s", printed.stdout), printed
            assert printed.returncode == 1
        finally:
            os.kill(victim, signal.SIGCONT)
        assert wait_until(service.is_ready), service.log()
        assert victim in service.worker_pids()


def test_a_stopped_master_is_told_by_readyz_and_status(tmp_path: Path) -> None:
    service = acts(tmp_path)
    with running(service):
        service.wait_settled()
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            assert wait_until(lambda: not service.is_ready()), service.log()
            assert service.report()["master_stuck_seconds"] >= 5  # rounded
            printed = service.ask("status")
            assert re.search(r"the master\s+is (stuck|stopped)", printed.stdout), printed
            assert printed.returncode == 1
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
        assert wait_until(service.is_ready), service.log()


def test_workers_that_were_killed_under_a_stopped_master_are_not_told_as_ready(tmp_path: Path) -> None:
    """Nobody reaps them meanwhile, and nobody is left to answer /readyz: their rows stay as they were."""
    service = acts(tmp_path)
    with running(service):
        service.wait_settled()
        workers = service.worker_pids()
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            told: list[subprocess.CompletedProcess[str]] = []

            def is_down() -> bool:
                told.append(service.ask("status"))
                return "down: 0/2 workers ready" in told[-1].stdout

            assert wait_until(is_down), told
            assert told[-1].returncode == 1
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
        assert wait_until(service.is_ready), service.log()


@pytest.mark.parametrize("path", ["/end", "/block/3600"])
def test_the_request_that_ends_its_worker_is_one_of_those_that_are_said_to_be_lost(
    tmp_path: Path, path: str
) -> None:
    """Though the worker has written no heartbeat since it came."""
    service = acts(tmp_path, COACHMAN_WORKERS="1")
    with running(service):
        service.wait_settled()
        with service.asked(path) as request, pytest.raises((ConnectionError, http.client.HTTPException)):
            request.getresponse()
        assert wait_until(lambda: "with at most 1 request in flight" in service.log()), service.log()


@pytest.mark.timing
def test_a_blocked_event_loop_is_replaced_and_its_stack_is_logged(tmp_path: Path) -> None:
    service = acts(tmp_path, COACHMAN_HANG_SECONDS="2")
    with running(service), Load(service.port, "/pid", clients=4, pause=0.005) as load:
        before = service.worker_pids()
        with service.asked("/block/3600") as request:
            asked_at = time.monotonic()
            with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
                request.getresponse()
            lived = time.monotonic() - asked_at
        assert wait_until(replaced(service, before), seconds=BOOT_SECONDS), service.log()
        assert reasons(service) == ["blocked-loop"]
        [victim] = before - service.worker_pids()

    assert 1.8 <= lived <= 2 + ACT_SECONDS + LAST_WORD_SECONDS, service.log()
    assert_only_clients_of(victim, load, service)
    assert re.search(rf"CRITICAL.* slot \d .*{victim}.*event loop", service.log()), service.log()
    assert 'acts.py", line' in service.log(), service.log()
    assert "in block_the_loop" in service.log(), service.log()


@pytest.mark.timing
def test_a_loop_that_is_blocked_for_less_than_the_limit_is_never_killed(tmp_path: Path) -> None:
    service = acts(tmp_path, COACHMAN_HANG_SECONDS="3", COACHMAN_WORKERS="1")
    with running(service):
        [pid] = service.worker_pids()
        # From the first block's end to the second's begin is less than half the limit: where a heartbeat
        # came only every half of it, the second would seem to have begun with the last one before.
        for path in ("/block/2.4", "/sleep/1.2", "/block/2.4"):
            with service.asked(path) as request:
                assert request.getresponse().read() == str(pid).encode(), service.log()
        assert service.worker_pids() == {pid}, service.log()


def test_a_thread_pool_that_takes_no_work_is_replaced(tmp_path: Path) -> None:
    service = acts(tmp_path, COACHMAN_POOL_SECONDS="2", THREADS="1", COACHMAN_WORKERS="1")
    with running(service), service.asked("/thread/60"), service.asked("/thread/0"):
        before = service.worker_pids()
        assert wait_until(replaced(service, before)), service.log()
        assert reasons(service) == ["blocked-pool"]
        assert web.get(f"{service.url}/thread/0").status_code == 200
    assert re.search(rf"CRITICAL.* slot 0 .*{before.pop()}.*thread pool", service.log()), service.log()
    assert "in hold_a_thread" in service.log(), service.log()


def test_a_thread_pool_that_is_only_busy_is_left_alone(tmp_path: Path) -> None:
    """For twice as long as the limit, in which each of its calls ends."""
    service = acts(tmp_path, COACHMAN_POOL_SECONDS="4", THREADS="1", COACHMAN_WORKERS="1")
    with running(service), Load(service.port, "/thread/0.2", clients=3) as load:
        before, begun = service.worker_pids(), time.monotonic()
        assert wait_until(lambda: load.served() >= 14 and time.monotonic() - begun > 8), service.log()
        assert service.worker_pids() == before, service.log()
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{service.log()}"


@pytest.mark.parametrize("hang", ["wait", "block"])
def test_a_start_up_that_hangs_ends_a_service_that_was_never_ready(tmp_path: Path, hang: str) -> None:
    (tmp_path / hang).touch()
    with running(starts(tmp_path), ready=False) as service:
        assert service.wait_end() == 3, service.log()
    assert "COACHMAN_BOOT_SECONDS" in service.log()


@pytest.mark.parametrize("hang", ["wait", "block"])
def test_a_replacement_that_hangs_while_it_starts_is_killed_and_tried_again(
    tmp_path: Path, hang: str
) -> None:
    with running(starts(tmp_path, COACHMAN_BOOT_SECONDS="5")) as service:  # which the first ones keep
        service.wait_settled()
        (tmp_path / hang).touch()
        victim = service.slots()[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        with Load(service.port, "/pid", clients=2, keep_alive=False, pause=0.01) as load:
            assert wait_until(lambda: service.last_exit(0).get("reason") == "boot-timeout"), service.log()
            assert service.slots()[0]["failures"] >= 1
            (tmp_path / hang).unlink()
            assert wait_until(service.is_ready), service.log()
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{service.log()}"


def test_a_shutdown_that_never_ends_is_killed_after_the_drain(tmp_path: Path) -> None:
    service = Service(tmp_path, app="starts", COACHMAN_DRAIN_SECONDS="4", COACHMAN_KEEPALIVE_SECONDS="1")
    with running(service):
        service.wait_settled()
        (tmp_path / "linger").touch()
        victim = service.slots()[0]["pid"]
        os.kill(victim, signal.SIGTERM)
        assert wait_until(lambda: service.is_ready() and victim not in service.worker_pids()), service.log()
        assert is_alive(victim), service.log()

        assert wait_until(lambda: not is_alive(victim)), service.log()
        (tmp_path / "linger").unlink()
        assert service.is_ready(), service.log()
    assert re.search(rf"CRITICAL.* slot 0 .*{victim}.*has not ended", service.log()), service.log()


def starts(folder: Path, **settings: str) -> Service:
    return Service(folder, app="starts", **{"COACHMAN_BOOT_SECONDS": "1", **settings})


def test_a_request_that_is_not_answered_in_time_gets_504_and_its_handler_is_cancelled(tmp_path: Path) -> None:
    service = acts(tmp_path, COACHMAN_REQUEST_SECONDS="3", COACHMAN_WORKERS="1")
    with running(service):
        before = service.worker_pids()
        asked_at = time.monotonic()
        answer = web.get(f"{service.url}/sleep/60", timeout=50)

        assert answer.status_code == 504, service.log()
        assert time.monotonic() - asked_at > 2.9
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 504
        assert wait_until(lambda: web.get(f"{service.url}/cancelled").json() == [60]), service.log()
        assert web.get(f"{service.url}/sleep/0.5").status_code == 200
        assert service.worker_pids() == before, service.log()


def test_an_answer_that_has_begun_may_outlast_the_request_limit(tmp_path: Path) -> None:
    service = Service(tmp_path, app="streams", COACHMAN_WORKERS="1", COACHMAN_REQUEST_SECONDS="3")
    with running(service), service.asked("/download/4") as download:
        assert len(download.getresponse().read()) == 4 * 10 * 1000, service.log()
