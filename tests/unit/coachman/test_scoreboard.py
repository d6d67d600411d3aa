import os
import signal
import time

from coachman.master import restart_backoff
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import State


def test_a_row_is_read_as_it_was_written_and_others_stay_empty() -> None:
    board = Scoreboard.create()
    board.update_service(workers=2, slots=2)

    board.slots[1].update(state=State.READY, pid=7, requests=2**40)
    board.slots[1].update(in_flight=3)

    assert dict(board.rows()) == {1: Row(state=State.READY, pid=7, requests=2**40, in_flight=3)}


def test_readiness_once_reached_is_remembered() -> None:
    board = Scoreboard.create()
    board.update_service(workers=2, slots=2)

    board.slots[0].update(state=State.READY)
    board.note_readiness()
    assert not board.was_ready

    board.slots[1].update(state=State.READY)
    board.note_readiness()
    board.slots[0].update(state=State.DEAD)
    assert board.was_ready


def test_a_slot_that_is_not_wanted_is_listed_while_a_worker_is_in_it() -> None:
    board = Scoreboard.create()
    board.update_service(workers=1, slots=2)
    board.slots[1].update(state=State.DRAINING)
    assert [number for number, _ in board.rows()] == [1]

    board.slots[0].update(state=State.READY)
    board.slots[1].update(state=State.DEAD)
    assert [number for number, _ in board.rows()] == [0], "nothing is missing"

    board.update_service(workers=2)
    assert [number for number, _ in board.rows()] == [0, 1]


def test_a_reader_never_sees_half_a_row_of_a_writer_that_is_killed() -> None:
    board = Scoreboard.create()
    for _ in range(20):
        writer = os.fork()
        if not writer:
            n = board.slots[0].read().pid
            while True:  # each value of a row is the same number: a torn row would mix two
                n += 1
                board.slots[0].write(Row(0, *[n] * 13))
        try:
            deadline = time.monotonic() + 0.1
            while time.monotonic() < deadline:
                assert len(set(board.slots[0].read()[1:14])) == 1
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)

        row = board.slots[0].read()
        assert len(set(row[1:14])) == 1
        assert row.pid > 0


def test_a_worker_that_never_served_is_a_failure_and_one_that_did_is_none() -> None:
    assert restart_backoff.is_failure(Row(state=State.STARTING), now=100)
    assert restart_backoff.is_failure(Row(state=State.READY, ready_at=99.5), now=100)
    assert not restart_backoff.is_failure(Row(state=State.READY, ready_at=90), now=100)
    # Told by somebody else than the master: while it started, right after it was ready, later.
    assert restart_backoff.is_failure(Row(state=State.DRAINING, since=99), now=100)
    assert restart_backoff.is_failure(Row(state=State.DRAINING, ready_at=90, since=90.5), now=100)
    assert not restart_backoff.is_failure(Row(state=State.DRAINING, ready_at=90, since=99.9), now=100)


def test_the_delay_doubles_with_jitter_up_to_half_a_minute() -> None:
    assert restart_backoff.delay_seconds(0) == 0
    for failures, middle in [(1, 0.1), (2, 0.2), (5, 1.6), (50, 30), (10**6, 30)]:
        delays = [restart_backoff.delay_seconds(failures) for _ in range(50)]
        assert 0.75 * middle <= min(delays) < max(delays) <= 1.25 * middle
