"""What the master says of its workers: to the log, and to systemd."""

import logging
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coachman.state.readiness import status_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Reason, State, signal_name, words
from coachman.state.view import View
from coachman.system import sd_notify, stdio

if TYPE_CHECKING:
    from coachman.metrics.counters import Metrics
    from coachman.worker import Worker


def name_of(worker: "Worker") -> str:
    assert worker.slot is not None
    return f"Worker in slot {worker.slot.number} (pid {worker.pid})"


class Report:
    """Runs in the master."""

    def __init__(
        self,
        scoreboard: Scoreboard,
        speaks: Callable[[], bool] = lambda: True,
        metrics: "Metrics | None" = None,
    ) -> None:
        self._scoreboard, self._metrics = scoreboard, metrics
        self._speaks = speaks  # a master that is to take over is silent until it has
        self._told_at = 0.0
        self._told_status = ""
        self._told_ready = False
        self._wants_watchdog = sd_notify.wants_watchdog()
        self._lines_dropped = 0

    def tell_systemd(self, hang_seconds: float) -> None:
        """READY=1 as soon as all workers serve; the status and the watchdog at most once a second."""
        if not self._speaks():
            return
        if not self._told_ready and self._scoreboard.was_ready:
            self._told_ready = True
            sd_notify.notify("READY=1", f"STATUS={status_line(View.of(self._scoreboard))}")
        now = time.monotonic()
        if now - self._told_at < 1:
            return
        self._told_at = now
        self._count_own_lines()
        if self._wants_watchdog and self._does_one_serve(now, hang_seconds):
            sd_notify.notify("WATCHDOG=1")
        status = status_line(View.of(self._scoreboard))
        if status != self._told_status:
            self._told_status = status
            sd_notify.notify(f"STATUS={status}")

    def tell_systemd_of_stop(self) -> None:
        if self._speaks():
            sd_notify.notify("STOPPING=1", "STATUS=stopping")

    def count_in(self, row: Row) -> None:
        """Keeps the sums of a worker that has ended."""
        service = self._scoreboard.service
        self._scoreboard.update_service(
            requests=service.requests + row.requests, lines_dropped=service.lines_dropped + row.lines_dropped
        )

    def ending(self, worker: "Worker", row: Row, code: int, reason: Reason, delay: float) -> tuple[Any, ...]:
        """Level, message and arguments of the log line: what was asked for is info, what was not an error."""
        how = f"was killed by {signal_name(code)}" if code < 0 else f"exited with code {code}"
        if worker.leaving is not None and worker.lost is None:
            level = logging.INFO if code == 0 else logging.WARNING
            return level, "%s %s after %s requests: %s", name_of(worker), how, row.requests, words(reason)
        if delay:
            why = "right after it was ready" if row.ready_at else "before it was ready"
            message = "%s %s %s, %s in a row; the next one starts in %.2f s"
            return logging.ERROR, message, name_of(worker), how, why, row.failures + 1, delay
        message = "%s %s with %s requests in flight"
        if code == -signal.SIGKILL and worker.lost is None:
            message += "; unless somebody did it, memory ran out"
        return logging.ERROR, message, name_of(worker), how, row.in_flight

    def _does_one_serve(self, now: float, hang_seconds: float) -> bool:
        return any(
            row.state == State.READY and now - row.beat < hang_seconds for _, row in self._scoreboard.rows()
        )

    def _count_own_lines(self) -> None:
        new = stdio.lines_dropped() - self._lines_dropped
        if new:
            self._lines_dropped += new
            if self._metrics is not None:
                self._metrics.lines_dropped.inc(new)
            service = self._scoreboard.service
            self._scoreboard.update_service(lines_dropped=service.lines_dropped + new)
