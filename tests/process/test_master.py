"""What a master lives through, and how it ends in a hurry."""

import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import web
from tests.support.load import Load
from tests.support.service import REPOSITORY, Service, is_alive, running, wait_until

FAILING_FORK = str(REPOSITORY / "tests" / "support" / "failing_fork.py")


def assert_serves_while_one_cannot_be_replaced(service: Service, failure: Path) -> None:
    """`failure` makes it impossible while it is there."""
    service.wait_settled()
    failure.touch()
    victim, survivor = service.slots()
    os.kill(victim["pid"], signal.SIGKILL)
    assert wait_until(lambda: service.report()["status"] == "degraded"), service.log()
    with Load(service.port, "/pid", clients=4, pause=0.005) as load:
        begun = time.monotonic()
        assert wait_until(lambda: time.monotonic() - begun > 2.5 and load.served() > 200), service.log()
        assert (service.report()["ready"], service.slots()[1]["pid"]) == (1, survivor["pid"]), service.log()
        failure.unlink()
        assert wait_until(service.is_ready), service.log()
        assert service.slots()[1]["pid"] == survivor["pid"], "the healthy worker was restarted too"
    assert set(load.outcomes) == {"success"}, f"{load.failures}\n{service.log()}"


def test_the_master_lives_through_a_fork_that_fails(tmp_path: Path) -> None:
    service = Service(tmp_path, "--config", FAILING_FORK, app="acts", NO_FORK=str(tmp_path / "no-fork"))
    with running(service):
        assert_serves_while_one_cannot_be_replaced(service, tmp_path / "no-fork")
    assert "Resource temporarily unavailable" in service.log(), service.log()


def test_the_master_lives_through_a_folder_for_temporary_files_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    service = Service(tmp_path, app="acts", TMPDIR=str(folder))
    with running(service):
        service.wait_settled()
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()
        os.kill(service.slots()[0]["pid"], signal.SIGKILL)
        with Load(service.port, "/pid", clients=2, keep_alive=False, pause=0.005) as load:
            assert wait_until(lambda: load.served() > 300), service.log()
            folder.mkdir()
            assert wait_until(service.is_ready), service.log()
    assert set(load.outcomes) == {"success"}, f"{load.failures}\n{service.log()}"


@contextlib.contextmanager
def unread_pipe() -> Iterator[int]:
    """Its writing end. It holds one page, and is full after some lines."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def full_disk() -> Iterator[int]:
    file = os.open("/dev/full", os.O_WRONLY)
    try:
        yield file
    finally:
        os.close(file)


@pytest.mark.parametrize("log", [unread_pipe, full_disk])
def test_a_log_that_takes_nothing_costs_log_lines_only(
    tmp_path: Path, log: "type[contextlib.AbstractContextManager[int]]"
) -> None:
    with log() as file:
        service = Service(tmp_path, app="acts")
        service.output = file
        with running(service):
            with Load(service.port, "/log/20", clients=4) as load:
                assert wait_until(lambda: load.served() > 300), f"{load.outcomes}"
                victim = service.slots()[0]["pid"]
            os.kill(victim, signal.SIGKILL)
            assert wait_until(lambda: service.is_ready() and victim not in service.worker_pids())
            assert wait_until(lambda: service.report()["log_lines_dropped"] > 1000), service.report()

            service.process.send_signal(signal.SIGTERM)
            assert service.wait_end() == 0
    assert set(load.outcomes) == {"success"}, f"{load.failures}"


@pytest.mark.timing
@pytest.mark.parametrize("signum", [signal.SIGQUIT, signal.SIGINT])
def test_a_quick_stop_gives_open_requests_a_second(tmp_path: Path, signum: signal.Signals) -> None:
    service = Service(tmp_path, app="acts")
    with running(service), service.asked("/sleep/0.6") as short, service.asked("/sleep/60"):
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 2), service.log()

        service.process.send_signal(signum)
        told = time.monotonic()
        assert short.getresponse().status == 200, service.log()
        assert service.wait_end(seconds=5) == 0, service.log()
        assert time.monotonic() - told < 2.5, service.log()
    assert service.log().count("the lifespan has ended") == 2, service.log()


def test_a_quick_stop_does_not_wait_for_a_blocked_worker(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_HANG_SECONDS="600")
    with running(service), service.asked("/block/600"):
        assert wait_until(lambda: "a handler has begun" in service.log()), service.log()

        service.process.send_signal(signal.SIGQUIT)
        assert service.wait_end() == 0, service.log()


@pytest.mark.timing
def test_processes_that_were_paused_together_are_not_taken_for_lost(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_HANG_SECONDS="1")
    with running(service):
        before = service.worker_pids()
        os.killpg(service.process.pid, signal.SIGSTOP)
        time.sleep(2)  # the fault itself: longer than the limit
        os.killpg(service.process.pid, signal.SIGCONT)

        assert not wait_until(lambda: service.worker_pids() != before, seconds=2.5), service.log()
    assert not re.search("CRITICAL|ERROR", service.log()), service.log()


def test_a_process_that_a_worker_has_forked_does_not_keep_the_port(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts")
    with running(service):
        child = web.get(f"{service.url}/fork").json()
        try:
            service.process.send_signal(signal.SIGTERM)
            assert service.wait_end() == 0, service.log()
            assert is_alive(child)
            service.start()
            service.wait_ready()
            assert web.get(f"{service.url}/pid").json() in service.worker_pids()
        finally:
            os.kill(child, signal.SIGKILL)
