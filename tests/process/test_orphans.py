"""A master that is killed leaves nobody behind."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.service import Service, children, is_alive, is_port_free, running, wait_until

GONE_SECONDS = 2
NOISE_SECONDS = 0.5


def assert_all_gone_after_the_masters_death(
    service: Service, workers: set[int], seconds: float = PATIENCE_SECONDS
) -> None:
    service.process.kill()
    service.wait_end()

    def nothing_left() -> bool:
        ports = service.port, service.ops_port
        return not any(map(is_alive, workers)) and all(map(is_port_free, ports))

    assert wait_until(nothing_left, seconds=seconds), (
        f"{[pid for pid in workers if is_alive(pid)]} of {workers} live on\n{service.log()}"
    )


@pytest.mark.parametrize("path", ["/sleep/3600", "/thread/3600", "/block/3600", "/block-in-c"])
def test_workers_of_a_killed_master_end_whatever_they_do(tmp_path: Path, path: str) -> None:
    service = Service(tmp_path, app="acts")
    with running(service):
        workers = service.worker_pids()
        with service.asked(path):
            assert wait_until(lambda: "a handler has begun" in service.log()), service.log()
            assert_all_gone_after_the_masters_death(service, workers)


@pytest.mark.timing
def test_workers_of_a_killed_master_end_soon(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts")
    with running(service):
        workers = service.worker_pids()
        with service.asked("/block-in-c"):
            assert wait_until(lambda: "a handler has begun" in service.log()), service.log()
            assert_all_gone_after_the_masters_death(service, workers, GONE_SECONDS + NOISE_SECONDS)


def test_a_stopped_worker_of_a_killed_master_ends_too(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts")
    with running(service):
        workers = service.worker_pids()
        os.kill(min(workers), signal.SIGSTOP)
        assert_all_gone_after_the_masters_death(service, workers)


def test_workers_of_a_master_killed_while_they_start_end_too(tmp_path: Path) -> None:
    (tmp_path / "block").touch()
    service = Service(tmp_path, app="starts")
    with running(service, ready=False):
        times = tmp_path / "times"
        assert wait_until(lambda: times.exists() and len(times.read_text().splitlines()) == 2), service.log()
        workers = children(service.process.pid)
        assert_all_gone_after_the_masters_death(service, workers)
