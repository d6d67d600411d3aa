from coachman.state.readiness import readiness, status_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, Reason, State
from coachman.state.view import STABLE_SECONDS, View, failures_in_a_row


def test_the_status_counts_and_says_what_is_wrong() -> None:
    board = Scoreboard.create()
    board.update_service(workers=2, slots=2, generation=3, requests=1000)
    for slot in board.slots[:2]:
        slot.update(state=State.READY, requests=117)
    board.record_readiness()
    assert status_line(View.of(board)) == "2/2 workers ready, 1,234 requests, generation 3"

    board.slots[1].update(state=State.BACKING_OFF, exit_reason=Reason.BOOT_FAILED, requests=0)
    assert status_line(View.of(board)) == (
        "degraded: 1/2 workers ready, 1,117 requests, generation 3; slot 1 backing-off after boot-failed"
    )
    board.slots[0].update(state=State.DEAD, exit_reason=Reason.CRASHED)
    assert status_line(View.of(board)).startswith("down: 0/2 workers ready")


def test_one_request_is_not_many() -> None:
    board = Scoreboard.create()
    board.update_service(workers=1, slots=1, requests=1)
    assert ", 1 request, generation" in status_line(View.of(board))
    board.slots[0].update(state=State.DRAINING)
    board.update_service(handover=Phase.ACCEPTED)
    assert status_line(View.of(board)) == "drains: 1 worker left, 1 request, generation 1"


def test_failures_are_forgotten_after_a_minute_of_service() -> None:
    row = Row(state=State.READY, ready_at=1000, since=1000, failures=3)

    assert failures_in_a_row(row, 1000 + STABLE_SECONDS) == 3
    assert failures_in_a_row(row, 1001 + STABLE_SECONDS) == 0
    assert failures_in_a_row(Row(state=State.STARTING, failures=3), 10**9) == 3
    draining = row._replace(state=State.DRAINING, since=1030)
    assert failures_in_a_row(draining, 10**9) == 3, "a drain is no service"

    board = Scoreboard.create()
    board.update_service(workers=1, slots=1)
    board.slots[0].write(row)
    assert readiness(View.of(board))["slots"][0]["failures"] == 0
