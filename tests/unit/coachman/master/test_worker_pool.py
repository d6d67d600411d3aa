"""The pool acts as the policies decide: with forks and signals that are noted instead of made."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coachman.master.counts import Counts
from coachman.master.worker_pool import WorkerPool
from coachman.settings import ServerSettings
from coachman.state import events
from coachman.state.events import Events
from coachman.state.scoreboard import Row, Scoreboard, Slot
from coachman.state.states import Reason, State

SIGTERM, SIGABRT = signal.SIGTERM, signal.SIGABRT


class Master:
    """Its pool, the signals that it sent, and whether the kernel lets it fork."""

    def __init__(self, folder: Path) -> None:
        self.board = Scoreboard.create()
        self.board.update_service(generation=1)
        self.sent: list[tuple[int, int]] = []
        self.can_fork = True
        self._pid = 100
        self.pool = WorkerPool(
            ServerSettings(),
            self.board,
            Events(folder, 1),
            Counts(),
            fork=self._fork,
            kill=lambda pid, signum: self.sent.append((pid, signum)),
        )

    def _fork(self) -> int | None:
        slot = self.pool.next_slot()
        if not self.can_fork:
            return None
        self._pid += 1
        slot.update(pid=self._pid)
        return self._pid

    def make_ready(self, *, seconds_ago: float = 100) -> None:
        for slot in self.board.slots[:8]:
            if slot.read().state == State.STARTING:
                at = time.time() - seconds_ago
                slot.update(state=State.READY, ready_at=at, since=at, beat=time.monotonic())

    def pids(self) -> list[int]:
        return [row.pid for _, row in self.board.rows()]


@pytest.fixture
def master(tmp_path: Path) -> Master:
    return Master(tmp_path)


def manage(master: Master, workers: int) -> None:
    master.board.update_service(workers=workers)
    master.pool.manage(workers)


def test_it_forks_as_many_as_are_wanted_and_no_more(master: Master) -> None:
    manage(master, 3)
    manage(master, 3)

    assert master.pids() == [101, 102, 103]
    assert [row.state for _, row in master.board.rows()] == [State.STARTING] * 3


def test_one_that_is_too_many_is_told_to_stop_once(master: Master) -> None:
    manage(master, 2)
    master.make_ready()
    manage(master, 1)
    manage(master, 1)

    assert master.sent == [(102, SIGTERM)]
    assert master.pool.has_ended(102, 0).reason == Reason.SCALED_DOWN
    manage(master, 1)
    assert master.pids() == [101]


def test_a_worker_that_has_served_is_replaced_at_once(master: Master) -> None:
    manage(master, 1)
    master.make_ready()
    exit_ = master.pool.has_ended(101, -9)
    manage(master, 1)

    assert (exit_.reason, exit_.is_failure, master.pids()) == (Reason.CRASHED, False, [102])


def test_a_start_that_failed_makes_its_slot_wait(master: Master) -> None:
    manage(master, 1)
    exit_ = master.pool.has_ended(101, 1)
    manage(master, 1)

    assert exit_.reason == Reason.BOOT_FAILED
    assert [row.state for _, row in master.board.rows()] == [State.BACKING_OFF]
    assert 0 < master.pool.poll_timeout(is_changing=False) <= exit_.delay


def test_an_end_is_among_the_events_before_it_is_in_the_row(
    master: Master, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A master that hands over to this one refuses it by the row, and looks for the reason at once."""
    manage(master, 1)
    write, found = Slot.write, []

    def look_and_write(slot: Slot, row: Row) -> None:
        found.append([event["event"] for event in events.latest(tmp_path)])
        write(slot, row)

    monkeypatch.setattr(Slot, "write", look_and_write)
    master.pool.has_ended(101, 1)

    assert found == [["boot-failed"]]


def test_a_fork_that_fails_is_tried_again_later(master: Master) -> None:
    master.can_fork = False
    manage(master, 1)
    assert [row.state for _, row in master.board.rows()] == [State.BACKING_OFF]
    master.can_fork = True
    manage(master, 1)

    assert master.pids() == [0], "not before its time"


def test_a_drain_that_somebody_else_asked_for_is_replaced_at_once(master: Master) -> None:
    manage(master, 1)
    master.make_ready()
    master.board.slots[0].update(state=State.DRAINING, since=time.time())
    manage(master, 1)

    assert [row.state for _, row in master.board.rows()] == [State.DRAINING, State.STARTING]
    assert master.pool.has_ended(101, 0).reason == Reason.STOPPED


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_makes_no_worker_younger_or_older(
    master: Master, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    manage(master, 2)
    master.make_ready(seconds_ago=0.1)
    master.board.slots[1].update(ready_at=time.time() - 100)
    manage(master, 2)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + step)

    assert master.pool.has_ended(101, -9).is_failure, "it was ready for a moment"
    assert not master.pool.has_ended(102, -9).is_failure, "it has served"


def test_a_worker_without_a_heartbeat_is_aborted_once(master: Master) -> None:
    manage(master, 1)
    master.make_ready()
    master.board.slots[0].update(beat=time.monotonic() - 31)
    master.pool.kill_unresponsive()
    master.pool.kill_unresponsive()

    assert master.sent == [(101, SIGABRT)]
    assert master.pool.has_ended(101, -6).reason == Reason.BLOCKED_LOOP


@pytest.mark.parametrize(
    ("row", "connections", "lost"),
    [
        ({"in_flight": 2, "connections": 3}, 3, 3),
        ({"in_flight": 0, "connections": 0}, 1, 1),  # the request that blocked the loop: no heartbeat since
        ({"in_flight": 2, "connections": 2}, -1, 2),  # it drains, and tells the others nothing
    ],
)
def test_what_is_said_to_be_lost_is_a_bound(
    master: Master, caplog: pytest.LogCaptureFixture, row: dict[str, int], connections: int, lost: int
) -> None:
    manage(master, 1)
    master.make_ready()
    master.board.slots[0].update(**row)
    assert master.board.loads is not None
    master.board.loads.write(0, connections + 0.4)
    master.pool.has_ended(101, -9)

    assert f"with at most {lost} request{'' if lost == 1 else 's'} in flight" in caplog.text


def test_the_counts_of_those_that_have_ended_are_kept(master: Master) -> None:
    manage(master, 1)
    master.make_ready()
    master.board.slots[0].update(requests=7, lines_dropped=2)
    master.pool.has_ended(101, -9)

    assert (master.board.service.requests, master.board.service.lines_dropped) == (7, 2)


@pytest.mark.parametrize(
    ("note", "reason"),
    [(WorkerPool.note_stop, Reason.STOPPED), (WorkerPool.note_kill, Reason.DRAIN_TIMEOUT)],
)
def test_what_gunicorn_does_to_all_at_a_stop_is_known_of_each(
    master: Master, note: Callable[[WorkerPool], None], reason: Reason
) -> None:
    manage(master, 1)
    master.make_ready()
    note(master.pool)

    assert master.pool.has_ended(101, 0).reason == reason
    assert master.pool.is_empty
