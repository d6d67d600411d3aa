import logging

import pytest

from coachman.master.restart_policy import Exit, judge
from coachman.master.status_reporter import StatusReporter, exit_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import LIFESPAN_ENDED_EXIT_CODE, TASK_DIED_EXIT_CODE, Reason, State
from coachman.system.sd_notify import Notifier
from tests.unit.coachman.master.fakes import workers


class Sent(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def notify(self, *assignments: str) -> None:
        self.lines += assignments


def line(
    row: Row, code: int, exit_: Exit, *, stop: Reason | None = None, kill: Reason | None = None
) -> tuple[int, str]:
    [worker] = workers(Scoreboard.create(), State.READY)
    worker.stop_reason, worker.kill_reason = stop, kill
    level, message, *arguments = exit_line(worker, row, code, exit_, 4)
    return level, message % tuple(arguments)


CRASHED = Exit(Reason.CRASHED, False, 0, 0.0)


@pytest.mark.parametrize(("code", "level"), [(0, logging.INFO), (1, logging.WARNING)])
def test_what_was_asked_for_is_no_error(code: int, level: int) -> None:
    stopped = Exit(Reason.SCALED_DOWN, False, 0, 0.0)

    assert line(Row(requests=3), code, stopped, stop=Reason.SCALED_DOWN) == (
        level,
        f"Worker in slot 0 (pid 1000) exited with code {code} after 3 requests: scaled-down",
    )


def test_a_crash_says_what_it_cost() -> None:
    assert line(Row(ready_at=1), -11, CRASHED) == (
        logging.ERROR,
        "Worker in slot 0 (pid 1000) was killed by SIGSEGV with at most 4 requests in flight",
    )


def test_a_kill_that_is_not_the_masters_hints_at_the_memory() -> None:
    assert "memory ran out" in line(Row(ready_at=1), -9, CRASHED)[1]
    assert "memory ran out" not in line(Row(ready_at=1), -9, CRASHED, kill=Reason.BLOCKED_LOOP)[1]


def test_a_failed_start_says_when_the_next_one_comes() -> None:
    failed = Exit(Reason.BOOT_FAILED, True, 3, 0.4)

    assert line(Row(), 1, failed)[1].endswith(
        "exited with code 1 before it was ready (failed start 3 of this slot); the next one starts in 0.40 s"
    )
    assert "right after it was ready" in line(Row(ready_at=1), 1, failed)[1]


def test_a_failed_start_that_ends_the_service_promises_no_next_one() -> None:
    [worker] = workers(Scoreboard.create(), State.READY)
    _, message, *arguments = exit_line(
        worker, Row(), 1, Exit(Reason.BOOT_FAILED, True, 1, 0.1), 0, is_last=True
    )

    assert message % tuple(arguments) == "Worker in slot 0 (pid 1000) exited with code 1 before it was ready"


@pytest.mark.parametrize(
    ("code", "moment"),
    [
        (
            LIFESPAN_ENDED_EXIT_CODE,
            "after its application's lifespan had ended (failed start 1 of this slot)",
        ),
        (TASK_DIED_EXIT_CODE, "after a task of its own had died (failed start 1 of this slot)"),
    ],
)
def test_a_worker_that_has_ended_itself_is_not_said_never_to_have_served(code: int, moment: str) -> None:
    exit_ = judge(Row(state=State.DRAINING), 9.0, code, stop_reason=None, kill_reason=None)

    assert exit_.reason != Reason.BOOT_FAILED
    assert moment in line(Row(state=State.DRAINING), code, exit_)[1]


def test_systemd_hears_of_ready_once_and_of_each_new_status() -> None:
    board, systemd = Scoreboard.create(), Sent()
    board.update_service(workers=1, slots=1)
    reporter = StatusReporter(board, systemd)
    reporter.notify_systemd(30)
    assert systemd.lines == ["STATUS=0/1 workers ready, 0 requests, generation 1"]

    board.slots[0].update(state=State.READY)
    board.record_readiness()
    reporter.notify_systemd(30)
    reporter.notify_systemd(30)
    assert systemd.lines[1:] == ["READY=1", "STATUS=1/1 workers ready, 0 requests, generation 1"]
    reporter.notify_systemd_of_stop()
    assert systemd.lines[-2:] == ["STOPPING=1", "STATUS=stopping"]


def test_a_master_that_is_to_take_over_says_nothing() -> None:
    board, systemd = Scoreboard.create(), Sent()
    reporter = StatusReporter(board, systemd, is_active_master=lambda: False)
    reporter.notify_systemd(30)
    reporter.notify_systemd_of_stop()

    assert systemd.lines == []
