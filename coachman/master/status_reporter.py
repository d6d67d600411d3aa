"""Reports on the workers, to the log and to systemd."""

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from coachman.master.managed_worker import ManagedWorker
from coachman.master.restart_policy import Exit
from coachman.state.readiness import status_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import (
    LIFESPAN_ENDED_EXIT_CODE,
    TASK_DIED_EXIT_CODE,
    State,
    signal_name,
    words,
)
from coachman.state.view import View
from coachman.system import sd_notify, stdio
from coachman.system.sd_notify import Notifier

BOOT_FAILED_EXIT_CODE = 1  # of a worker whose start has failed, which has logged why

MOST_CHARACTERS = 160  # of a reason, beside the message, in the record of an event


class StatusReporter:
    """Notifies systemd: READY=1, STATUS=, WATCHDOG=1."""

    def __init__(
        self,
        scoreboard: Scoreboard,
        systemd: Notifier,
        *,
        is_active_master: Callable[[], bool] = lambda: True,
        on_lines_dropped: Callable[[int], None] = lambda _: None,
    ) -> None:
        """A master that has not taken over yet sends nothing: `is_active_master` says whether it has."""
        self._scoreboard, self._systemd = scoreboard, systemd
        self._is_active_master, self._on_lines_dropped = is_active_master, on_lines_dropped
        self._sent_at = 0.0
        self._sent_status = ""
        self._sent_ready = False
        self._wants_watchdog = sd_notify.wants_watchdog()
        self._lines_dropped = 0

    def notify_systemd(self, hang_seconds: float) -> None:
        """READY=1 as soon as all workers serve; the status and the watchdog at most once a second."""
        if not self._is_active_master():
            return
        if not self._sent_ready and self._scoreboard.was_ready:
            self._sent_ready = True
            self._systemd.notify("READY=1", f"STATUS={status_line(View.of(self._scoreboard))}")
        now = time.monotonic()
        if now - self._sent_at < 1:
            return
        self._sent_at = now
        self._count_own_lines()
        if self._wants_watchdog and self._any_worker_responsive(now, hang_seconds):
            self._systemd.notify("WATCHDOG=1")
        status = status_line(View.of(self._scoreboard))
        if status != self._sent_status:
            self._sent_status = status
            self._systemd.notify(f"STATUS={status}")

    def notify_systemd_of_stop(self) -> None:
        if self._is_active_master():
            self._systemd.notify("STOPPING=1", "STATUS=stopping")

    def _any_worker_responsive(self, now: float, hang_seconds: float) -> bool:
        return any(
            row.state == State.READY and now - row.beat < hang_seconds for _, row in self._scoreboard.rows()
        )

    def _count_own_lines(self) -> None:
        new = stdio.lines_dropped() - self._lines_dropped
        if new:
            self._lines_dropped += new
            self._on_lines_dropped(new)
            service = self._scoreboard.service
            self._scoreboard.update_service(lines_dropped=service.lines_dropped + new)


def failure_fields(exit_: Exit, why: str) -> dict[str, str]:
    """What the event of a failed start has besides: why, and the seconds until the next."""
    if not exit_.is_failure:
        return {}
    return {"why": why[:MOST_CHARACTERS], "next_start_in": f"{exit_.delay:.2f}"}


def exit_line(
    worker: ManagedWorker, row: Row, code: int, exit_: Exit, most_lost: int, *, is_last: bool = False
) -> tuple[Any, ...]:
    """Level, message and arguments of the log line about an end: what was asked for is info, else an error.

    `row` is the worker's as it left it, `code` its exit code or minus the signal that killed it.
    `most_lost` is how many requests can have ended with it. `is_last`: a failed start ends the service.
    """
    how = f"was killed by {signal_name(code)}" if code < 0 else f"exited with code {code}"
    if worker.stop_reason is not None and worker.kill_reason is None:
        has_not_begun = code == BOOT_FAILED_EXIT_CODE and row.forked_at and not row.ready_at
        level = logging.INFO if code == 0 or has_not_begun else logging.WARNING
        return level, "%s %s after %s: %s", worker.name, how, _requests(row.requests), words(exit_.reason)
    if exit_.delay and is_last:
        return logging.ERROR, "%s %s %s", worker.name, how, _moment(row, code)
    if exit_.delay:
        message = "%s %s %s (failed start %s of this slot); the next one starts in %.2f s"
        return logging.ERROR, message, worker.name, how, _moment(row, code), exit_.failures, exit_.delay
    message = "%s %s with at most %s in flight"
    if code == -signal.SIGKILL and worker.kill_reason is None:
        message = "%s %s (by an operator, or by the kernel because memory ran out) with at most %s in flight"
    return logging.ERROR, message, worker.name, how, _requests(most_lost)


def _requests(number: int) -> str:
    return "1 request" if number == 1 else f"{number:,} requests"


def _moment(row: Row, code: int) -> str:
    """When a worker that hardly served, or that counts as one, has ended."""
    if row.ready_at:
        return "right after it was ready"
    ended = {
        LIFESPAN_ENDED_EXIT_CODE: "after its application's lifespan had ended",
        TASK_DIED_EXIT_CODE: "after a task of its own had died",
    }
    return ended.get(code, "before it was ready")
