import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coachman.cli.status import _page
from coachman.metrics.scoreboard_collector import ScoreboardCollector
from coachman.ops.health import readyz
from coachman.ops.snapshot import Snapshots
from coachman.state.readiness import readiness, status_line
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import State
from coachman.state.view import MASTER_STUCK_SECONDS, STUCK_SECONDS, View


@pytest.fixture
def board() -> Scoreboard:
    """Two workers that serve, under a master whose loop turns."""
    made = Scoreboard.create()
    made.update_service(pid=1, workers=2, slots=2)
    for slot in made.slots[:2]:
        slot.update(state=State.READY, pid=slot.number + 2, beat=time.monotonic())
    made.record_readiness()
    made.record_master_heartbeat(hang_seconds=30)
    return made


@pytest.mark.parametrize(
    "answer",
    [
        lambda board: readyz(board, Path("/nowhere")),
        lambda board: Snapshots(board, Path("/nowhere")).take(),
        lambda board: list(ScoreboardCollector(board, [], Path("/nowhere")).collect()),
        lambda board: Console(file=io.StringIO()).print(_page([board])),
    ],
    ids=["readyz", "page", "metrics", "status"],
)
def test_the_rows_are_read_once_for_each_answer(
    board: Scoreboard, answer: Callable[[Scoreboard], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no two parts of it can disagree."""
    readings: list[object] = []
    rows = Scoreboard.rows

    def counted(*arguments: Any) -> Any:
        readings.append(arguments)
        return rows(*arguments)

    monkeypatch.setattr(Scoreboard, "rows", counted)
    answer(board)

    assert len(readings) == 1


def later(board: Scoreboard, seconds: float) -> View:
    return View.of(board)._replace(now=time.monotonic() + seconds)


def test_a_worker_whose_loop_does_not_turn_is_not_ready_and_the_end_of_it_is_told(board: Scoreboard) -> None:
    now = time.monotonic()
    board.slots[0].update(beat=now - 12)
    view = View.of(board)._replace(now=now)

    assert (view.ready, view.status) == (1, "degraded")
    assert status_line(view).endswith("; slot 0 stuck for 12 s, killed in 18 s")
    stuck, moves = readiness(view)["slots"]
    assert (round(stuck["stuck_seconds"]), round(stuck["killed_in_seconds"])) == (12, 18)
    assert (moves["stuck_seconds"], moves["killed_in_seconds"]) == (0, None)
    assert readyz(board, Path("nowhere")).status == 503


def test_a_worker_that_is_late_by_less_than_two_seconds_is_ready(board: Scoreboard) -> None:
    now = time.monotonic()
    board.slots[0].update(beat=now - STUCK_SECONDS + 0.5)

    assert View.of(board)._replace(now=now).status == "ready"


@pytest.mark.parametrize(
    ("own", "other", "stuck"),
    [
        (0.05, 12, True),
        (12, 12.05, False),  # nobody had CPU time: the worker that reads proves that it is back
        (12, 15, True),
        (12, 0.05, False),  # its own loop was blocked
    ],
)
def test_a_worker_that_was_late_itself_tells_of_nobody_who_was_no_later(
    board: Scoreboard, own: float, other: float, stuck: bool
) -> None:
    now = time.monotonic()
    board.slots[0].update(beat=now - own, pid=os.getpid())
    board.slots[1].update(beat=now - other)

    assert View.of(board).status == ("degraded" if stuck else "ready")
    assert readyz(board, Path("/nowhere")).status == (503 if stuck else 200)


def test_without_any_worker_whose_loop_turns_the_service_is_down(board: Scoreboard) -> None:
    assert later(board, 12).status == "down"


def test_a_starting_worker_is_not_stuck(board: Scoreboard) -> None:
    board.slots[0].update(state=State.STARTING, beat=time.monotonic() - 12)

    assert View.of(board).stuck_seconds(board.slots[0].read()) == 0


def test_a_master_that_does_not_move_is_told_and_kills_nobody(board: Scoreboard) -> None:
    for slot in board.slots[:2]:
        slot.update(beat=time.monotonic() + 9)
    view = View.of(board)
    view = view._replace(now=view.master_beat + MASTER_STUCK_SECONDS + 4)

    assert (view.ready, view.status) == (2, "degraded")
    assert status_line(view).endswith("the master is stuck for 9 s")
    board.slots[0].update(beat=time.monotonic() - 12)
    assert later(board, 9).killed_in_seconds(board.slots[0].read()) is None


def test_a_master_that_waits_for_its_last_workers_is_not_stuck(board: Scoreboard) -> None:
    for slot in board.slots[:2]:
        slot.update(state=State.DRAINING)

    assert later(board, 60).master_stuck_seconds == 0


def test_a_master_of_the_release_before_writes_no_heartbeat_and_is_not_stuck(board: Scoreboard) -> None:
    assert later(board, 60)._replace(master_beat=0.0).master_stuck_seconds == 0


def test_the_masters_heartbeat_lies_outside_the_record_of_the_service(board: Scoreboard) -> None:
    before = board.service
    for requests in range(10):  # both copies are written
        board.record_master_heartbeat(hang_seconds=7)
        board.update_service(requests=requests)
        assert board.master_heartbeat()[1] == 7
    assert board.service == before._replace(requests=9)
