"""A new release takes over, or is refused: what clients, the operator and the process table see of it."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coachman.system.process import is_stopped
from tests.support.generations import (
    REASON_COMES_LAST,
    REFUSED,
    WAITING_AT_START,
    Generations,
    finish,
)
from tests.support.load import Load
from tests.support.service import running, wait_until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Generations]:
    with running(Generations(tmp_path)) as service:
        yield service


def test_releases_follow_each_other_under_load_with_code_and_settings_and_no_failed_request(
    service: Generations,
) -> None:
    with service.loaded(0.02) as loads, Load(service.ops_port, "/readyz", clients=1, pause=0.02) as probes:
        service.release("2")
        # Without a fresh environment from systemd the old master's stays.
        code, printed = service.coachman("handover", "--no-wait", GREETING="mine")
        second = service.masters()[0].service
        assert code == 0, printed
        steps = [line.partition(" s  ")[2] for line in printed.splitlines()]
        assert steps == [
            "The new release is checked and loaded",
            f"Master {second.pid} starts 2 workers",
            "They serve, on probation beside the old ones",
            f"Generation 2 serves (master {second.pid}); the one before drains.",
        ], printed
        assert service.released() == ["2", ""]

        service.release("3")
        fresh = {"MAINPID": str(second.pid), "GREETING": "hello", "COACHMAN_WORKERS": "3"}
        code, printed = service.coachman("handover", **fresh)
        assert code == 0, f"{printed}\n{service.log()}"
        assert service.released() == ["3", "hello"]

        third = service.masters()[0].service
        service.wait_for_sole_master(third.pid)
        service.release("4")
        service.signal_master(signal.SIGUSR2)
        fourth = service.wait_for_generation(4)
        assert service.wait_for_sole_master(fourth).service.generation == 4
        assert service.released() == ["4", "hello"]
        report = service.report()
        assert (report["status"], report["generation"], report["workers"]) == ("ready", 4, 3)
    service.assert_no_failure(*loads, probes)
    assert service.files() == [f"scoreboard.{fourth}"]


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generations]:
    """One for all refusals: none of them may leave a trace."""
    # The probation ends with the crash in it, however late that is.
    service = Generations(tmp_path_factory.mktemp("steady"), TESTS_PROBATION_SECONDS="60")
    with running(service):
        yield service


@pytest.mark.parametrize("flaw", REFUSED)
def test_a_release_that_does_not_come_up_is_refused_with_its_reason_and_no_failed_request(
    steady: Generations, flaw: str
) -> None:
    release, environment, sentence = REFUSED[flaw]
    steady.wait_ready()
    workers = steady.worker_pids()
    steady.release("2", **release)
    with steady.loaded() as loads, Load(steady.ops_port, "/readyz", clients=1, pause=0.2) as probes:
        # Of the others, none is held to a start within a second.
        limit = {"COACHMAN_BOOT_SECONDS": "1"} if flaw == "start-up hangs" else {}
        fresh = {"MAINPID": str(steady.process.pid), **limit, **environment}
        code, printed = steady.coachman("handover", **fresh)
        assert code == 1, printed
        assert sentence in printed, f"{printed}\n{steady.log()}"
        assert printed.splitlines()[-1].startswith("The handover is refused: "), printed
        assert printed.splitlines()[-1].endswith("Generation 1 serves on."), printed
        if flaw in REASON_COMES_LAST:
            assert sentence in printed.splitlines()[-1], printed
        steady.assert_only_the_first_generation_is_left(workers)
        assert steady.released() == ["1", ""]
    steady.assert_no_failure(*loads, probes)


@pytest.mark.timing  # what is held open outlives two commands, and a drain is limited
def test_a_handover_waits_until_the_generation_before_has_drained(service: Generations) -> None:
    service.hold.touch()
    with service.asked("/hold") as held:
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots())), service.log()
        service.release("2")
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()

        service.release("3")
        os.kill(service.masters()[0].service.pid, signal.SIGUSR2)
        first = service.process.pid
        still = f"SIGUSR2 is ignored: the master before this one, {first}, still drains"
        assert wait_until(lambda: still in service.log()), service.log()
        command = service.command("handover", "--no-wait")
        assert command.stdout is not None
        assert command.stdout.readline() == f"Generation 1 still drains (master {first}): waiting.\n"
        service.hold.unlink()
        assert held.getresponse().status == 200, service.log()
    code, printed = finish(command)

    assert code == 0, f"{printed}\n{service.log()}"
    assert "Generation 3 serves" in printed
    assert service.released() == ["3", ""]


def test_commands_in_a_row_each_take_their_turn_also_after_a_refusal(service: Generations) -> None:
    """The next one asks as soon as it sees one master, which may still have to notice that it is alone."""
    service.release("refused", at_start="raise OSError('no database')")
    assert service.coachman("handover", "--no-wait")[0] == 1, service.log()
    for generation in (2, 3):
        service.release(f"generation {generation}")
        code, printed = service.coachman("handover", "--no-wait")
        assert code == 0, f"{printed}\n{service.log()}"
        assert service.released() == [f"generation {generation}", ""]
        assert service.masters()[0].service.generation == generation


def test_a_service_that_has_not_been_ready_hands_nothing_over(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.gate.touch()
    service.release("1", at_start=WAITING_AT_START)
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        service.signal_master(signal.SIGUSR2)
        ignored = "SIGUSR2 is ignored: this generation has not been ready itself"
        assert wait_until(lambda: ignored in service.log()), service.log()
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, printed) == (1, "Generation 1 has not been ready itself yet.\n")
        service.gate.unlink()
        service.wait_ready()


def test_the_command_ends_when_the_old_generation_has_and_counts_what_was_answered(
    service: Generations,
) -> None:
    service.release("2")
    with service.loaded() as loads:
        code, printed = service.coachman("handover")
    service.assert_no_failure(*loads)

    assert code == 0, f"{printed}\n{service.log()}"
    answered = r"([\d,]+) requests were answered meanwhile, none lost$"
    ended = re.search(f"Generation 1 has ended: no worker was killed\n +[\\d.]+ s  {answered}", printed)
    assert ended is not None, printed
    assert int(ended[1].replace(",", "")) > 0
    assert service.wait_end() == 0, service.log()
    assert service.masters()[0].service.generation == 2


def test_a_stopped_master_is_named_and_nothing_happens_when_it_goes_on(service: Generations) -> None:
    service.release("2")
    master = service.process.pid
    os.kill(master, signal.SIGSTOP)
    try:
        assert wait_until(lambda: is_stopped(master))
        for command in (["handover"], ["scale", "3"], ["kill-worker", "0"]):
            code, printed = service.coachman(*command)
            assert (code, printed) == (
                1,
                f"The master {master} was stopped (SIGSTOP). Nothing was asked of it, and nothing will happen"
                f" later. Let it go on: kill -CONT {master}\n",
            )
    finally:
        os.kill(master, signal.SIGCONT)
    service.wait_ready()
    assert service.coachman("scale", "2")[0] == 0  # its loop has turned: a signal from before would be done

    assert service.masters()[0].service.handovers == 0
    assert service.released() == ["1", ""]
