"""What the end of a worker means, and how long its slot waits."""

import pytest

from coachman.master import restart_policy
from coachman.master.restart_policy import judge
from coachman.state.scoreboard import Row
from coachman.state.states import LIFESPAN_ENDED_EXIT_CODE, Reason, State

STARTING = Row(state=State.STARTING)
JUST_READY = Row(state=State.READY, ready_at=99.5, since=99.5)
SERVING = Row(state=State.READY, ready_at=90, since=90, failures=2)
STABLE = Row(state=State.READY, ready_at=30, since=30, failures=2)


def test_an_end_right_after_it_was_ready_is_a_failure() -> None:
    assert restart_policy.is_failure(STARTING, now=100)
    assert restart_policy.is_failure(JUST_READY, now=100)
    assert not restart_policy.is_failure(SERVING, now=100)
    # Told by somebody else than the master: while it started, right after it was ready, later.
    assert restart_policy.is_failure(Row(state=State.DRAINING, since=99), now=100)
    assert restart_policy.is_failure(Row(state=State.DRAINING, ready_at=90, since=90.5), now=100)
    assert not restart_policy.is_failure(Row(state=State.DRAINING, ready_at=90, since=99.9), now=100)


@pytest.mark.parametrize(
    ("row", "reason", "is_failure", "failures"),
    [
        (STARTING, Reason.BOOT_FAILED, True, 1),
        (STARTING._replace(failures=4), Reason.BOOT_FAILED, True, 5),
        (JUST_READY, Reason.CRASHED, True, 1),
        (SERVING, Reason.CRASHED, False, 2),
        (STABLE, Reason.CRASHED, False, 0),
    ],
)
def test_an_end_that_nobody_asked_for(row: Row, reason: Reason, is_failure: bool, failures: int) -> None:
    exit_ = judge(row, 100.0, 1, stop_reason=None, kill_reason=None)

    assert (exit_.reason, exit_.is_failure, exit_.failures) == (reason, is_failure, failures)
    assert bool(exit_.delay) == is_failure


@pytest.mark.parametrize("row", [STARTING, JUST_READY, SERVING])
def test_an_end_that_was_asked_for_is_no_failure(row: Row) -> None:
    exit_ = judge(row, 100.0, 1, stop_reason=Reason.SCALED_DOWN, kill_reason=None)

    assert exit_ == (Reason.SCALED_DOWN, False, row.failures, 0.0)


def test_why_the_master_killed_it_goes_before_why_it_was_told_to_stop() -> None:
    assert judge(SERVING, 100.0, -9, stop_reason=Reason.STOPPED, kill_reason=Reason.DRAIN_TIMEOUT).reason == (
        Reason.DRAIN_TIMEOUT
    )
    killed = judge(STARTING, 100.0, -9, stop_reason=None, kill_reason=Reason.BOOT_TIMEOUT)
    assert (killed.reason, killed.is_failure) == (Reason.BOOT_TIMEOUT, True)


def test_a_lifespan_that_has_ended_by_itself_says_so_by_its_exit_code() -> None:
    drains = SERVING._replace(state=State.DRAINING, since=99)

    for stop_reason in (None, Reason.STOPPED):  # the master sees a drain that it has not asked for
        exit_ = judge(drains, 100.0, LIFESPAN_ENDED_EXIT_CODE, stop_reason=stop_reason, kill_reason=None)
        assert exit_.reason == Reason.LIFESPAN_ENDED


def test_the_delay_doubles_with_jitter_up_to_half_a_minute() -> None:
    assert restart_policy.delay_seconds(0) == 0
    for failures, middle in [(1, 0.1), (2, 0.2), (5, 1.6), (50, 30), (10**6, 30)]:
        delays = [restart_policy.delay_seconds(failures) for _ in range(50)]
        assert 0.75 * middle <= min(delays) < max(delays) <= 1.25 * middle
