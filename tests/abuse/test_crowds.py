"""More connections than a worker takes."""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.abuse.client import HEAD, Canary, crowd
from tests.support.service import Service, running, unmeasured, wait_until
from tests.support.volume import volume

SECONDS = volume(10, 4)


def target_with(folder: Path, head_seconds: int = 5, **settings: str) -> Service:
    settings["COACHMAN_HEAD_SECONDS"] = str(head_seconds)
    return Service(folder, app="target", COACHMAN_WORKERS="1", **settings)


def ask_for(seconds: float, canary: Canary) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            canary.ask(seconds=3)
            outcomes["success"] += 1
        except (OSError, AssertionError) as error:
            outcomes[repr(error)] += 1
        time.sleep(0.01)
    return outcomes


@pytest.mark.timing
def test_thousands_of_silent_and_slow_clients_do_not_keep_new_ones_out(tmp_path: Path) -> None:
    service = target_with(tmp_path, COACHMAN_CONNECTIONS="1000")
    canary = Canary(service.port)
    with running(service), crowd(service.port, 2000), crowd(service.port, 200, HEAD):
        assert wait_until(lambda: ask_for(0.5, canary)["success"] > 0), service.log()
        outcomes = ask_for(2, canary)

    assert outcomes["success"] / outcomes.total() > 0.9, f"{outcomes}\n{service.log()}"


def test_a_crowd_that_asks_is_told_to_come_again(tmp_path: Path) -> None:
    service = target_with(tmp_path, head_seconds=60, COACHMAN_CONNECTIONS="10")
    answers = []
    with running(service), crowd(service.port, 11, HEAD) as members:
        assert wait_until(lambda: service.slots()[0]["connections"] == 11), service.log()
        for member in members:
            member.sendall(b"\r\n")
            answers.append(member.recv(65536))
            member.close()

    assert b"\r\nretry-after: 1\r\n" in answers[0], f"{answers}\n{service.log()}"
    assert answers[0].startswith(b"HTTP/1.1 503")
    assert answers[-1].startswith(b"HTTP/1.1 200"), f"{answers}\n{service.log()}"


def test_the_ops_listener_answers_whatever_the_crowd(tmp_path: Path) -> None:
    service = target_with(tmp_path, head_seconds=60, COACHMAN_CONNECTIONS="10")
    with running(service), crowd(service.port, 40, HEAD):
        assert service.is_ready(), service.log()


@pytest.mark.soak
@pytest.mark.timing
def test_few_descriptors_are_neither_used_up_nor_spun_on(tmp_path: Path) -> None:
    service = target_with(tmp_path)
    service.environment = unmeasured(service.environment)
    service.most_files = 160
    canary = Canary(service.port)
    with running(service), crowd(service.port, 300, HEAD):
        pid = service.slots()[0]["pid"]
        before = cpu_seconds(pid)
        outcomes = ask_for(SECONDS, canary)
        used = cpu_seconds(pid) - before
        afterwards = ask_for(2, canary)

    assert outcomes["success"] / outcomes.total() > 0.5, f"{outcomes}\n{service.log()}"
    assert set(afterwards) == {"success"}, f"{afterwards}\n{service.log()}"
    assert used < SECONDS / 2, f"{used:.1f} s of CPU in {SECONDS} s"
    assert len(service.log().splitlines()) < 200, service.log()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
