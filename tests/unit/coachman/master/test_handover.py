"""What the old master decides on the new one, step by step, on a clock of its own."""

from pathlib import Path

import pytest

from coachman.master.handover import (
    MARGIN_SECONDS,
    PROBATION_SECONDS,
    Decision,
    Handover,
    Progress,
    Verdict,
    load_seconds,
    precondition_error,
)
from coachman.master.reexec import LEAST_CHECK_SECONDS, check_seconds
from coachman.state.runtime_dir import path_of
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Reason, State

BOOT, KILL = 60.0, 25.0
STARTING = Progress(workers=2, ready=0, was_ready=False, worker_failed=False)
READY = STARTING._replace(ready=2, was_ready=True)
FAILED = STARTING._replace(worker_failed=True)


@pytest.fixture
def handover() -> Handover:
    return Handover(0.0, boot_seconds=BOOT, kill_seconds=KILL)


def test_a_new_master_that_serves_through_its_probation_is_accepted(handover: Handover) -> None:
    assert handover.poll(None, 1.0).verdict is Verdict.WAIT
    assert handover.poll(STARTING, 2.0).verdict is Verdict.WAIT
    assert handover.poll(READY, 3.0).verdict is Verdict.WAIT
    assert handover.poll(READY, 3.0 + PROBATION_SECONDS - 0.1).verdict is Verdict.WAIT
    assert handover.poll(READY, 3.0 + PROBATION_SECONDS).verdict is Verdict.ACCEPT


def test_probation_begins_anew_when_a_worker_stops_serving_meanwhile(handover: Handover) -> None:
    handover.poll(READY, 3.0)
    handover.poll(READY._replace(ready=1), 4.0)

    assert handover.poll(READY, 3.0 + PROBATION_SECONDS).verdict is Verdict.WAIT
    assert handover.poll(READY, 3.0 + 2 * PROBATION_SECONDS).verdict is Verdict.ACCEPT


def test_it_is_not_enough_that_some_serve(handover: Handover) -> None:
    some = STARTING._replace(ready=1)

    assert [handover.poll(some, now).verdict for now in (1.0, 9.0)] == [Verdict.WAIT] * 2


@pytest.mark.parametrize("at", [0.1, 30.0])
def test_a_worker_that_ends_rejects_the_release_at_once(handover: Handover, at: float) -> None:
    assert handover.poll(FAILED, at) == Decision(Verdict.REJECT, "a worker of the new release ended")


def test_a_worker_that_ends_on_probation_rejects_the_release(handover: Handover) -> None:
    handover.poll(READY, 3.0)

    assert handover.poll(READY._replace(worker_failed=True), 4.0).verdict is Verdict.REJECT


def test_a_short_limit_for_workers_leaves_python_time_to_load_the_application() -> None:
    assert (check_seconds(1), check_seconds(120)) == (LEAST_CHECK_SECONDS, 120)


def test_an_application_that_is_not_loaded_in_time_is_rejected(handover: Handover) -> None:
    assert handover.poll(None, load_seconds(BOOT)).verdict is Verdict.WAIT
    decision = handover.poll(None, load_seconds(BOOT) + 0.1)
    assert decision.verdict is Verdict.REJECT
    assert "has not loaded the application" in decision.reason


def test_a_start_has_its_time_from_the_load_on(handover: Handover) -> None:
    handover.poll(None, 50.0)
    handover.poll(STARTING, 60.0)

    assert handover.poll(STARTING, 60.0 + BOOT + MARGIN_SECONDS).verdict is Verdict.WAIT
    decision = handover.poll(STARTING, 60.1 + BOOT + MARGIN_SECONDS)
    assert (decision.verdict, "COACHMAN_BOOT_SECONDS" in decision.reason) == (Verdict.REJECT, True)


def test_a_probation_that_has_begun_in_time_may_end_after_the_deadline(handover: Handover) -> None:
    handover.poll(STARTING, 1.0)
    end = 1.0 + BOOT + MARGIN_SECONDS

    assert handover.poll(READY, end - 0.1).verdict is Verdict.WAIT
    assert handover.poll(READY, end + 0.1).verdict is Verdict.WAIT
    assert handover.poll(READY, end - 0.1 + PROBATION_SECONDS).verdict is Verdict.ACCEPT


def test_a_rejected_master_has_its_drain_and_is_killed_then(handover: Handover) -> None:
    handover.poll(FAILED, 10.0)

    assert handover.poll(FAILED, 10.0 + KILL + MARGIN_SECONDS).verdict is Verdict.WAIT
    assert handover.poll(FAILED, 10.1 + KILL + MARGIN_SECONDS).verdict is Verdict.KILL
    assert handover.poll(READY, 10.2).verdict is Verdict.WAIT, "it is never accepted any more"


def test_a_rejection_from_outside_counts_as_its_own(handover: Handover) -> None:
    assert handover.reject("unreadable", 1.0) == Decision(Verdict.REJECT, "unreadable")
    assert handover.poll(READY, 9.0).verdict is Verdict.WAIT


@pytest.mark.parametrize(
    ("reason", "failed"),
    [
        (Reason.CRASHED, True),
        (Reason.BOOT_FAILED, True),
        (Reason.DRAIN_TIMEOUT, True),
        (Reason.RECYCLED_REQUESTS, False),
        (Reason.SCALED_DOWN, False),
        (Reason.STOPPED, False),
    ],
)
def test_what_was_asked_for_is_no_failure_of_the_release(reason: Reason, failed: bool) -> None:
    board = Scoreboard.create()
    board.update_service(workers=1, slots=1)
    board.slots[0].update(state=State.READY, exited_at=1.0, exit_reason=reason)

    assert Progress.of(board) == (1, 1, False, failed)


def test_a_handover_needs_a_master_that_is_the_only_one_and_has_been_ready(tmp_path: Path) -> None:
    def error(*, pid: int = 9, reexec_pid: int = 0, master_pid: int = 0, was_ready: bool = True) -> str:
        return precondition_error(
            pid=pid, reexec_pid=reexec_pid, master_pid=master_pid, was_ready=was_ready, folder=tmp_path
        )

    assert "no scoreboard of this master" in error()
    path_of(tmp_path, 9).touch()
    assert error() == ""
    assert error(reexec_pid=7) == "a handover to master 7 is under way"
    assert error(master_pid=8) == "the master before this one, 8, still drains"
    assert "first process of its container" in error(pid=1)
    assert error(was_ready=False) == "this generation has not been ready itself"
