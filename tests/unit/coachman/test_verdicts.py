"""When the master kills a worker, and when it lets one go."""

import logging
import os

import pytest

from coachman.master import liveness
from coachman.master.recycling import Lifetime
from coachman.master.status_reporter import Report
from coachman.settings import ServerSettings
from coachman.state.readiness import status_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Reason, State
from coachman.state.view import View

SETTINGS = ServerSettings(boot_seconds=60, hang_seconds=30, pool_seconds=60, drain_seconds=20)


def verdict(row: Row, *, forked_at: float = 0, told_at: float | None = None) -> Reason | None:
    """At second 1000."""
    found = liveness.verdict(row, 1000.0, SETTINGS, forked_at=forked_at, told_at=told_at)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("beat", "reason"), [(1000, None), (970.1, None), (976, None), (969.9, Reason.BLOCKED_LOOP)]
)
def test_a_loop_is_blocked_when_no_beat_came_for_the_whole_time(beat: float, reason: Reason | None) -> None:
    assert verdict(Row(state=State.READY, pid=os.getpid(), beat=beat)) == reason
    assert verdict(Row(state=State.DRAINING, pid=os.getpid(), beat=beat)) == reason


def test_a_start_has_its_own_limit_whatever_the_beat() -> None:
    starting = Row(state=State.STARTING, pid=os.getpid(), beat=0)

    assert verdict(starting, forked_at=941) is None
    assert verdict(starting._replace(beat=1000), forked_at=939) == Reason.BOOT_TIMEOUT


def test_a_pool_is_stuck_only_while_work_waits() -> None:
    beating = Row(state=State.READY, pid=os.getpid(), beat=1000)

    assert verdict(beating._replace(pool_stuck_since=0)) is None
    assert verdict(beating._replace(pool_stuck_since=941)) is None
    assert verdict(beating._replace(pool_stuck_since=939)) == Reason.BLOCKED_POOL


def test_a_drain_that_does_not_end_is_ended() -> None:
    draining = Row(state=State.DRAINING, pid=os.getpid(), beat=1000)

    assert verdict(draining, told_at=976) is None
    assert verdict(draining, told_at=974) == Reason.DRAIN_TIMEOUT


def test_memory_counts_when_three_samples_in_a_row_are_over_the_limit() -> None:
    lifetime = Lifetime(ServerSettings(max_rss_mb=100), now=0.0)

    def asked(now: float, mebibytes: int, *, beat: float = 0.0, requests: int = 1) -> Reason | None:
        return lifetime.outlived(Row(rss=mebibytes * 2**20, beat=beat or now, requests=requests), now)

    looks = [(1, 101), (2, 101), (3, 99), (4, 101), (5, 101)]
    assert [asked(now, mebibytes) for now, mebibytes in looks] == [None] * 5
    assert asked(5.5, 101) is None, "asked twice within a second: still two samples"
    assert asked(9.1, 101, beat=5) is None, "the worker has not moved since: no new sample"
    assert asked(9.2, 101, requests=0) is None, "it has served nothing: a successor would be no better"
    assert asked(9.3, 101) == Reason.RECYCLED_MEMORY


def test_requests_and_age_are_jittered_by_at_most_a_tenth() -> None:
    for _ in range(50):
        lifetime = Lifetime(ServerSettings(max_requests=1000, max_age_seconds=100), now=0.0)
        assert lifetime.outlived(Row(requests=999), 99) is None
        assert lifetime.outlived(Row(requests=1100), 0) == Reason.RECYCLED_REQUESTS
        assert lifetime.outlived(Row(), 110) == Reason.RECYCLED_AGE


def test_without_limits_a_worker_lives_on() -> None:
    lifetime = Lifetime(ServerSettings(), now=0.0)

    assert lifetime.outlived(Row(requests=10**9, rss=10**12), 10**9) is None


def test_the_status_counts_and_says_what_is_wrong() -> None:
    board = Scoreboard.create()
    board.update_service(workers=2, slots=2, generation=3, requests=1000)
    for slot in board.slots[:2]:
        slot.update(state=State.READY, requests=117)
    board.note_readiness()
    assert status_line(View.of(board)) == "2/2 workers ready, 1,234 requests, generation 3"

    board.slots[1].update(state=State.BACKING_OFF, exit_reason=Reason.BOOT_FAILED, requests=0)
    assert status_line(View.of(board)) == (
        "degraded: 1/2 workers ready, 1,117 requests, generation 3; slot 1 backing-off after boot-failed"
    )
    board.slots[0].update(state=State.DEAD, exit_reason=Reason.CRASHED)
    assert status_line(View.of(board)).startswith("down: 0/2 workers ready")


def test_what_was_asked_for_is_no_error() -> None:
    class Leaver:
        slot, pid, lost, leaving = Scoreboard.create().slots[0], 7, None, Reason.SCALED_DOWN

    report = Report(Scoreboard.create())
    assert report.ending(Leaver(), Row(), 0, Reason.SCALED_DOWN, 0)[0] == logging.INFO
    assert report.ending(Leaver(), Row(), 1, Reason.SCALED_DOWN, 0)[0] == logging.WARNING
