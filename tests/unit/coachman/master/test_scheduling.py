"""When the loop acts next, which slots are filled, and who leaves first."""

import pytest

from coachman.master.scheduling import BUSY_POLL_SECONDS, POLL_SECONDS, poll_timeout, slots_to_fill, surplus
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State
from tests.unit.coachman.master.fakes import workers

READY, STARTING = State.READY, State.STARTING


@pytest.mark.parametrize(
    ("due", "is_changing", "seconds"),
    [
        ([], False, POLL_SECONDS),
        ([], True, BUSY_POLL_SECONDS),
        ([100.2], False, 0.2),
        ([100.2, 100.1], False, 0.1),
        ([130.0], False, POLL_SECONDS),
        ([100.2], True, BUSY_POLL_SECONDS),
        ([99.0], False, 0.0),
    ],
)
def test_the_loop_sleeps_until_the_next_thing_to_do(
    due: list[float], is_changing: bool, seconds: float
) -> None:
    assert poll_timeout(100.0, due, is_changing=is_changing) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("held", "due", "missing", "slots"),
    [
        (set(), {}, 3, [0, 1, 2]),
        ({0, 1}, {}, 0, []),
        ({0, 1}, {}, -1, []),
        ({0, 2}, {}, 1, [1]),
        ({0, 2}, {}, 2, [1, 3]),
        ({0, 1}, {3: 5.0}, 1, [3]),  # the slot that has lost its worker, though 2 is free
        ({0, 1}, {3: 5.0}, 2, [3, 2]),
        ({0}, {1: 5.0, 2: 9.0}, 1, [1]),  # one fewer is wanted now
    ],
)
def test_slots_are_filled_from_below_and_those_that_failed_before_others(
    held: set[int], due: dict[int, float], missing: int, slots: list[int]
) -> None:
    assert slots_to_fill(held, due, missing) == slots


def test_no_more_slots_are_filled_than_there_are() -> None:
    assert slots_to_fill(set(range(510)), {}, 5) == [510, 511]


def test_no_one_leaves_while_no_one_is_too_many() -> None:
    assert surplus(workers(Scoreboard.create(), READY, READY), 2) == []
    assert surplus(workers(Scoreboard.create(), READY), 2) == []


def test_those_in_the_highest_slots_leave_first() -> None:
    leaving = surplus(workers(Scoreboard.create(), READY, READY, READY), 1)

    assert [worker.slot.number for worker in leaving] == [2, 1]


def test_those_that_do_not_serve_leave_before_those_that_do_the_youngest_first() -> None:
    board = Scoreboard.create()
    members = workers(board, STARTING, READY, STARTING, READY, forked_at=(5.0, 1.0, 4.0, 1.0))

    assert [worker.slot.number for worker in surplus(members, 1)] == [0, 2, 3]
