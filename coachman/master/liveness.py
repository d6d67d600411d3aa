"""Decides when a worker is unresponsive and has to be killed."""

from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row
from coachman.state.states import Reason, State
from coachman.system.process import is_stopped

SUSPEND_THRESHOLD_SECONDS = 1.0  # an iteration of the loop this late means that the master was suspended
RESUME_GRACE_SECONDS = 1.0  # after a resume: ten heartbeats
SENTENCES = {
    Reason.BOOT_TIMEOUT: "is not ready after {:g} s (COACHMAN_BOOT_SECONDS)",
    Reason.BLOCKED_LOOP: "has not run its event loop for {:g} s (COACHMAN_HANG_SECONDS)",
    Reason.STOPPED_PROCESS: "is a stopped process and has not moved for {:g} s (COACHMAN_HANG_SECONDS)",
    Reason.BLOCKED_POOL: "has a thread pool that has ended nothing for {:g} s while work waits"
    " (COACHMAN_POOL_SECONDS)",
    Reason.DRAIN_TIMEOUT: "has not ended {:g} s after it was asked to stop (COACHMAN_DRAIN_SECONDS and 5 s)",
}


def kill_reason(
    row: Row, now: float, settings: ServerSettings, *, forked_at: float, stop_requested_at: float | None
) -> tuple[Reason, float] | None:
    """Why a worker has to be killed, and the limit in seconds that it has passed. All times are monotonic."""
    if stop_requested_at is not None and now - stop_requested_at > settings.kill_seconds:
        return Reason.DRAIN_TIMEOUT, settings.kill_seconds
    if row.state == State.STARTING:
        late = now - forked_at > settings.boot_seconds
        return (Reason.BOOT_TIMEOUT, settings.boot_seconds) if late else None
    if now - row.beat > settings.hang_seconds:
        reason = Reason.STOPPED_PROCESS if is_stopped(row.pid) else Reason.BLOCKED_LOOP
        return reason, settings.hang_seconds
    if settings.pool_seconds and row.pool_stuck_since and now - row.pool_stuck_since > settings.pool_seconds:
        return Reason.BLOCKED_POOL, settings.pool_seconds
    return None


class SuspendDetector:
    """Notices that the master itself did not run: a frozen cgroup, a suspended machine.

    Its workers did not run either. Their heartbeats are as old as the pause, and they need a moment to
    send the next ones. All times are monotonic.
    """

    def __init__(self, now: float) -> None:
        self._last, self._grace_until = now, 0.0

    def check(self, now: float) -> float:
        """To be called in each iteration of the loop: for how many seconds it was suspended, mostly 0."""
        elapsed, self._last = now - self._last, now
        if elapsed <= SUSPEND_THRESHOLD_SECONDS:
            return 0.0
        self._grace_until = now + RESUME_GRACE_SECONDS
        return elapsed

    def is_resuming(self, now: float) -> bool:
        """Whether workers may not have had the time to send a heartbeat since a resume."""
        return now < self._grace_until
