"""One worker at a time, and only while all serve: without processes."""

from collections.abc import Sequence

from coachman.master.managed_worker import ManagedWorker
from coachman.master.recycling import Recycling, Retire, Start
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Reason, State
from tests.unit.coachman.master.fakes import workers

AGED = ServerSettings(max_age_seconds=100)
LATE = 1000.0
READY, STARTING, DRAINING = State.READY, State.STARTING, State.DRAINING


def aged(*states: State) -> list[ManagedWorker]:
    return workers(Scoreboard.create(), *states, settings=AGED)


def starts(members: Sequence[ManagedWorker], wanted: int, now: float = LATE) -> bool:
    return isinstance(Recycling().decide(members, wanted, now), Start)


def test_nothing_is_done_before_a_limit_is_passed() -> None:
    assert not starts(aged(READY, READY), 2, now=50)


def test_the_first_that_has_expired_is_replaced_while_all_serve() -> None:
    first, second = aged(READY, READY)

    assert Recycling().decide([first, second], 2, LATE) == Start(first, Reason.RECYCLED_AGE)


def test_it_waits_while_another_one_starts_or_is_missing_or_drains() -> None:
    assert not starts(aged(READY, STARTING), 2)
    assert not starts(aged(READY), 2)
    first, second, leaving = aged(READY, READY, DRAINING)
    leaving.request_stop(Reason.SCALED_DOWN, 1.0)
    assert not starts([first, second, leaving], 2)
    assert starts([first, second], 2)


def test_the_old_one_retires_when_its_successor_serves_and_the_next_waits_for_its_end() -> None:
    recycling = Recycling()
    members = aged(READY, READY, STARTING)
    old, other, successor = members

    recycling.decide([old, other], 2, LATE)
    assert recycling.is_under_way
    assert recycling.decide(members, 2, LATE) is None, "the successor does not serve yet"
    successor.slot.update(state=READY)
    assert recycling.decide(members, 2, LATE) == Retire(old, Reason.RECYCLED_AGE)
    old.request_stop(Reason.RECYCLED_AGE, LATE)
    assert not recycling.is_under_way
    assert recycling.decide(members, 2, LATE) is None, "it drains"
    recycling.has_ended(old)
    assert recycling.decide([other, successor], 2, LATE) == Start(other, Reason.RECYCLED_AGE)


def test_it_begins_anew_when_the_outgoing_worker_ends_by_itself() -> None:
    recycling = Recycling()
    first, second = aged(READY, READY)
    recycling.decide([first, second], 2, LATE)

    recycling.has_ended(second)
    assert recycling.is_under_way, "another one's end changes nothing"
    recycling.has_ended(first)
    assert not recycling.is_under_way


def test_no_one_retires_while_fewer_serve_than_with_the_successor() -> None:
    recycling = Recycling()
    old, other, successor = aged(READY, READY, READY)
    recycling.decide([old, other], 2, LATE)
    other.slot.update(state=STARTING)

    assert recycling.decide([old, other, successor], 2, LATE) is None
