import os
import signal
import time

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
    board.record_readiness()
    assert not board.was_ready

    board.slots[1].update(state=State.READY)
    board.record_readiness()
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


WRITES = 2000  # by each writer, while it is read


def test_a_reader_never_sees_half_a_row_of_a_writer_that_is_killed() -> None:
    board = Scoreboard.create()
    for _ in range(20):
        writer = os.fork()
        if not writer:
            n = board.slots[0].read().pid
            while True:  # each value of a row is the same number: a torn row would mix two
                n += 1
                board.slots[0].write(Row(0, *[n] * 13))
        deadline, enough = time.monotonic() + 60, board.slots[0].read().pid + WRITES
        try:
            while board.slots[0].read().pid < enough:
                assert time.monotonic() < deadline, "the writer writes nothing"
                assert len(set(board.slots[0].read()[1:14])) == 1
        finally:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)

        row = board.slots[0].read()
        assert len(set(row[1:14])) == 1
        assert row.pid > 0
