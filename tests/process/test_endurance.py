"""An hour's worth of events at test speed: in full by `make soak`, some of them in each run."""

import os
import signal
from pathlib import Path

import pytest

from coachman.state import runtime_dir
from tests.process.scrape import scrape
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.service import running, wait_until
from tests.support.volume import volume

ROUNDS, HANDOVERS, REQUESTS = volume(25, 5), volume(10, 3), volume(10_000, 1_500)
WORKERS = 4
MEGABYTE = 1024 * 1024


def rss_bytes_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def kept_bytes(service: Generations) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (service.runtime_dir / "ops").iterdir()}


def kill_all(service: Generations) -> None:
    """Each a second after it was ready: sooner it would count as a failed start, and its slot would wait."""
    service.wait_settled()
    pids = service.worker_pids()
    assert len(pids) == WORKERS, service.log()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: len(service.worker_pids() - pids) == WORKERS), service.log()


def hand_over(service: Generations) -> None:
    code, said = service.coachman("handover", "--no-wait")
    assert code == 0, f"{said}\n{service.log()}"


@pytest.mark.soak
def test_requests_and_kills_and_handovers_by_the_dozen_leave_everything_where_it_was(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_WORKERS=str(WORKERS), COACHMAN_ACCESS_LOG="off")
    service.config = None  # as it ships
    with running(service), Load(service.port, "/pid", clients=4, pause=0.005) as load:
        hand_over(service)  # from here on both generations have their files
        master = service.wait_for_sole_master(service.masters()[0].service.pid).service.pid
        for _ in range(2):
            kill_all(service)
        files, memory, open_files = kept_bytes(service), rss_bytes_of(master), descriptors(master)
        for _ in range(ROUNDS - 2):
            kill_all(service)
        assert wait_until(lambda: load.served() > REQUESTS, seconds=300), load.outcomes

        assert kept_bytes(service) == files
        assert rss_bytes_of(master) - memory < 4 * MEGABYTE
        assert abs(descriptors(master) - open_files) <= 1
        workers = [descriptors(pid) for pid in service.worker_pids()]
        assert max(workers) - min(workers) <= 8, workers  # their clients' connections

        for number in range(HANDOVERS - 1):
            service.release(str(number + 2))
            hand_over(service)
            last = service.wait_for_sole_master(service.masters()[0].service.pid).service.pid
        assert kept_bytes(service) == files
        assert rss_bytes_of(last) < memory + 4 * MEGABYTE
        assert abs(descriptors(last) - open_files) <= 1
        assert service.files() == [runtime_dir.path_of(service.runtime_dir, last).name]
        told = scrape(service)
        assert told.sum("coachman_worker_exits_total", reason="crashed") == ROUNDS * WORKERS
        assert told.sum("coachman_handovers_total", outcome="accepted") == HANDOVERS
    assert load.outcomes["success"] > REQUESTS
    assert set(load.outcomes) <= {"success", "reset", "truncated", "garbled"}, load.outcomes
