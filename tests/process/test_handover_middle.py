"""What ends, or comes again, in the middle of a handover."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from coachman.state.states import Phase
from tests.support.generations import WAITING_AT_START, Generations, finish
from tests.support.service import running, wait_until

STEPS = ["check", "start", "probation"]


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Generations]:
    # A test that acts in the probation has to be in time for it, and none of those waits for its end.
    settings = {"TESTS_PROBATION_SECONDS": "60"} if "[probation]" in request.node.name else {}
    with running(Generations(tmp_path, **settings)) as service:
        yield service


@pytest.mark.parametrize("step", ["check", "start"])
def test_a_second_request_for_a_handover_is_refused_and_the_first_goes_on(
    service: Generations, step: str
) -> None:
    new = service.begin_handover(step)

    service.signal_master(signal.SIGUSR2)
    ignored = f"SIGUSR2 is ignored: a handover to master {new} is under way"
    assert wait_until(lambda: ignored in service.log()), service.log()
    code, printed = service.coachman("handover", "--no-wait")
    assert (code, printed.partition(";")[0]) == (
        1,
        f"A handover from master {service.process.pid} is under way",
    )

    service.gate.unlink()
    service.wait_for_sole_master(new)
    assert service.released() == ["2", ""]


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_a_handover_whose_command_is_ended_goes_on(service: Generations, signum: signal.Signals) -> None:
    service.gate.touch()
    service.release("2", at_start=WAITING_AT_START)
    command = service.command("handover", MAINPID=str(service.process.pid), GREETING="hello")
    new = service.wait_for_step("start")
    command.send_signal(signum)
    _, printed = finish(command)
    assert "Traceback" not in printed

    service.gate.unlink()
    service.wait_for_sole_master(new)
    assert service.released() == ["2", "hello"]
    assert not list(service.runtime_dir.glob("handover.*"))


@pytest.mark.parametrize("step", STEPS)
def test_a_stop_ends_both_masters_and_answers_every_request_that_a_worker_has(
    service: Generations, step: str
) -> None:
    with service.loaded() as loads:
        service.begin_handover(step)
        service.signal_master(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
        assert not service.pids(), service.log()
    # Nobody holds the port after a stop: new connections are refused, or reset while they still queue.
    for load in loads:
        assert {failure.answered_by for failure in load.failures} <= {None}, (
            f"{load.failures}\n{service.log()}"
        )
        assert set(load.outcomes) <= {"success", "refused", "reset"}, f"{load.outcomes}\n{service.log()}"
    assert service.files() == ["handover.log"]
    told = (service.runtime_dir / "handover.log").read_text().splitlines()[-1]
    assert told == "The service was stopped in the middle of the handover."
    assert "The handover is refused" not in service.log(), service.log()


@pytest.mark.parametrize("step", STEPS)
def test_a_new_master_that_is_killed_is_refused(service: Generations, step: str) -> None:
    workers = service.worker_pids()
    with service.loaded() as loads:
        new = service.begin_handover(step)
        os.kill(new, signal.SIGKILL)

        refused = "The handover is refused: the new master was killed by SIGKILL. Generation 1 serves on."
        assert wait_until(lambda: refused in service.log()), service.log()
        assert service.masters()[-1].service.handover == Phase.REFUSED
        service.assert_only_the_first_generation_is_left(workers)
    if step == "probation":  # what its workers held is lost with them
        assert {failure.outcome for load in loads for failure in load.failures} <= {"reset", "truncated"}
        assert sum(len(load.failures) for load in loads) <= 6, f"{loads[0].failures}\n{service.log()}"
    else:
        service.assert_no_failure(*loads)


@pytest.mark.parametrize("step", STEPS)
def test_when_the_old_master_is_killed_the_new_one_serves_on(service: Generations, step: str) -> None:
    new = service.begin_handover(step)
    service.process.kill()
    service.wait_end()
    service.gate.unlink()

    service.wait_ready()
    service.wait_for_sole_master(new)
    assert service.released() == ["2", ""]
    if step == "start":  # it is a master like any other
        service.release("3")
        code, printed = service.coachman("handover", "--no-wait")
        assert (code, service.released()) == (0, ["3", ""]), f"{printed}\n{service.log()}"


def test_the_command_says_that_the_old_master_was_killed(service: Generations) -> None:
    service.gate.touch()
    service.release("2", at_start=WAITING_AT_START)
    command = service.command("handover", "--no-wait")
    service.wait_for_step("start")
    # It stays a zombie, as under a parent that does not look, until the service is ended.
    os.kill(service.process.pid, signal.SIGKILL)

    code, printed = finish(command)
    ended = f"The master {service.process.pid} has ended in the middle of the handover; `coachman status`"
    assert (code, printed.splitlines()[-1].startswith(ended)) == (1, True), printed


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_ends_both_masters_at_once(service: Generations, step: str) -> None:
    service.hold.touch()
    with service.asked("/hold"):
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 1), service.log()
        service.begin_handover(step)
        os.killpg(service.process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches all of them

        assert service.wait_end() == 0, service.log()
    assert not service.pids(), service.log()


# After it, while the old generation drains.


def test_a_stop_right_after_a_handover_answers_what_the_old_generation_still_has(
    service: Generations,
) -> None:
    service.hold.touch()
    with service.asked("/hold") as held:
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 1), service.log()
        old = service.worker_pids()
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()
        os.kill(service.masters()[0].service.pid, signal.SIGTERM)
        assert wait_until(lambda: len(service.masters()) == 1), service.log()
        service.hold.unlink()

        assert int(held.getresponse().read()) in old, service.log()
    assert service.wait_end() == 0, service.log()
    assert wait_until(lambda: not service.pids()), service.log()
    assert not service.files()


def test_a_new_master_that_is_killed_after_it_took_over_ends_the_service(service: Generations) -> None:
    """Without systemd, that is. The old one can only finish what it has."""
    service.hold.touch()
    with service.asked("/hold") as held:
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 1), service.log()
        assert service.coachman("handover", "--no-wait")[0] == 0, service.log()
        new = service.masters()[0].service.pid
        os.kill(new, signal.SIGKILL)

        assert wait_until(lambda: f"Master {new}, which had taken over, has ended" in service.log()), (
            service.log()
        )
        assert service.coachman("status")[0] == 1
        printed = service.coachman("handover", "--no-wait")
        service.hold.unlink()
        assert held.getresponse().status == 200, service.log()
    ended = "Generation 1 drains, and the one that took over has ended: start the service.\n"
    assert printed == (1, ended), printed
    assert "The handover is refused" not in service.log()
    assert service.wait_end() == 0, service.log()
    assert wait_until(lambda: not service.pids()), service.log()
