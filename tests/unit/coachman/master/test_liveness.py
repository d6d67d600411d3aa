"""When the master kills a worker, and when it lets one go."""

import os

import pytest

from coachman.master import liveness
from coachman.master.liveness import SuspendDetector
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row
from coachman.state.states import Reason, State

SETTINGS = ServerSettings(boot_seconds=60, hang_seconds=30, pool_seconds=60, drain_seconds=20)


def kill_reason(row: Row, *, forked_at: float = 0, stop_requested_at: float | None = None) -> Reason | None:
    """At second 1000."""
    found = liveness.kill_reason(
        row, 1000.0, SETTINGS, forked_at=forked_at, stop_requested_at=stop_requested_at
    )
    return found[0] if found else None


@pytest.mark.parametrize(
    ("beat", "reason"), [(1000, None), (970.1, None), (976, None), (969.9, Reason.BLOCKED_LOOP)]
)
def test_a_loop_is_blocked_when_no_beat_came_for_the_whole_time(beat: float, reason: Reason | None) -> None:
    assert kill_reason(Row(state=State.READY, pid=os.getpid(), beat=beat)) == reason
    assert kill_reason(Row(state=State.DRAINING, pid=os.getpid(), beat=beat)) == reason


def test_a_start_has_its_own_limit_whatever_the_beat() -> None:
    starting = Row(state=State.STARTING, pid=os.getpid(), beat=0)

    assert kill_reason(starting, forked_at=941) is None
    assert kill_reason(starting._replace(beat=1000), forked_at=939) == Reason.BOOT_TIMEOUT


def test_a_pool_is_stuck_only_while_work_waits() -> None:
    beating = Row(state=State.READY, pid=os.getpid(), beat=1000)

    assert kill_reason(beating._replace(pool_stuck_since=0)) is None
    assert kill_reason(beating._replace(pool_stuck_since=941)) is None
    assert kill_reason(beating._replace(pool_stuck_since=939)) == Reason.BLOCKED_POOL


def test_a_drain_that_does_not_end_is_ended() -> None:
    draining = Row(state=State.DRAINING, pid=os.getpid(), beat=1000)

    assert kill_reason(draining, stop_requested_at=976) is None
    assert kill_reason(draining, stop_requested_at=974) == Reason.DRAIN_TIMEOUT


def test_every_reason_to_kill_has_its_sentence() -> None:
    for reason in (Reason.BOOT_TIMEOUT, Reason.BLOCKED_LOOP, Reason.STOPPED_PROCESS, Reason.BLOCKED_POOL):
        assert "COACHMAN_" in liveness.SENTENCES[reason].format(1.5)


def test_a_late_turn_of_the_loop_is_a_pause_of_the_master() -> None:
    suspension = SuspendDetector(100.0)

    assert suspension.check(100.9) == 0
    assert not suspension.is_resuming(100.9)
    assert suspension.check(400.0) == pytest.approx(299.1)
    assert suspension.is_resuming(400.9)
    assert suspension.check(400.95) == 0
    assert not suspension.is_resuming(401.1)
