"""The constants that other tests shorten (fast_clock.py), each at the value that ships."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.generations import Generations
from tests.support.service import Service, running, wait_until

pytestmark = pytest.mark.timing

MIN_UPTIME_SECONDS, PROBATION_SECONDS, POLL_SECONDS, SWEEP_SECONDS = 1.0, 1.5, 0.5, 1.0


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, app="starts")
    service.config = None
    with running(service):
        service.wait_settled()
        yield service


@pytest.fixture
def generations(tmp_path: Path) -> Iterator[Generations]:
    service = Generations(tmp_path)
    service.config = None
    with running(service):
        yield service


@pytest.mark.parametrize(("seconds", "is_failure"), [(0.7, True), (1.4, False)])
def test_a_worker_that_ends_within_a_second_of_being_ready_has_failed(
    starts: Service, tmp_path: Path, seconds: float, is_failure: bool
) -> None:
    before = starts.slots()[0]["restarts"]
    (tmp_path / "crash").write_text(str(seconds))
    os.kill(starts.slots()[0]["pid"], signal.SIGKILL)

    assert wait_until(lambda: starts.slots()[0]["restarts"] >= before + 3, seconds=20), starts.log()
    assert (starts.slots()[0]["failures"] > 0) == is_failure, starts.log()


def test_a_new_generation_serves_for_its_probation_before_it_takes_over(generations: Generations) -> None:
    new = generations.begin_handover("start")
    assert wait_until(lambda: len(generations.masters()) == 2), generations.log()
    generations.gate.unlink()
    assert wait_until(lambda: generations.is_at("probation")), generations.log()
    serves_since = time.monotonic()
    assert wait_until(lambda: f"Master {new} has taken over" in generations.log()), generations.log()

    assert time.monotonic() - serves_since > PROBATION_SECONDS - 0.1, generations.log()


def test_a_release_whose_workers_end_in_their_probation_is_refused_and_loses_only_what_they_held(
    generations: Generations,
) -> None:
    end = MIN_UPTIME_SECONDS + PROBATION_SECONDS - 0.5  # they are ready once a failed start would have shown
    generations.release("2", at_start=f"asyncio.get_running_loop().call_later({end}, os._exit, 8)")
    with generations.loaded() as loads:
        code, printed = generations.coachman("handover", "--no-wait")
        assert (code, generations.released()) == (1, ["1", ""]), printed
    assert printed.splitlines()[-1].startswith("The handover is refused: "), printed
    assert {failure.outcome for load in loads for failure in load.failures} <= {"reset", "truncated"}
    assert sum(len(load.failures) for load in loads) <= 2 * 6, f"{generations.log()}"


def test_a_master_with_nothing_to_do_looks_twice_a_second(generations: Generations) -> None:
    generations.wait_settled()
    begun, before = time.monotonic(), waits_of(generations.process.pid)
    assert wait_until(lambda: waits_of(generations.process.pid) >= before + 8), generations.log()

    assert (time.monotonic() - begun) / 8 == pytest.approx(POLL_SECONDS, rel=0.3), generations.log()


def waits_of(pid: int) -> int:
    """How often it has gone to sleep."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


def test_a_silent_client_is_ended_at_the_first_sweep_after_its_limit(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_HEAD_SECONDS="1")
    service.config = None
    ended = []
    with running(service):
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
                begun = time.monotonic()
                assert client.recv(1) == b"", service.log()
                ended.append(time.monotonic() - begun)

    assert min(ended) > 1, f"{ended}\n{service.log()}"
    assert max(ended) < 1 + SWEEP_SECONDS + 0.5, f"{ended}\n{service.log()}"
