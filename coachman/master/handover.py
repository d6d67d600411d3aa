"""Decides on a handover: whether one can begin, and whether the new master is accepted or rejected.

Everything here takes values and returns decisions. handover_control.py acts on them.
"""

from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple, Self

from coachman.master.reexec import check_seconds
from coachman.state import runtime_dir
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import FIRST_PROCESS, FIRST_PROCESS_SENTENCE, Reason

PROBATION_SECONDS = 1.5  # above the second within which an end counts as a failure
MARGIN_SECONDS = 5.0  # for what the new master's own limits do not count: its start, its last word
EXPECTED_EXITS = (
    *(Reason.RECYCLED_REQUESTS, Reason.RECYCLED_AGE, Reason.RECYCLED_MEMORY),
    *(Reason.SCALED_DOWN, Reason.STOPPED),
)


class Verdict(Enum):
    WAIT = auto()
    ACCEPT = auto()  # the new master has proved itself
    REJECT = auto()  # it is to be stopped, for `Decision.reason`
    KILL = auto()  # it was asked to stop and has not ended in time


class Decision(NamedTuple):
    verdict: Verdict
    reason: str = ""


class Progress(NamedTuple):
    """The progress of the new generation at one moment."""

    workers: int  # wanted
    ready: int
    was_ready: bool  # all of them at the same time, once
    worker_failed: bool

    @classmethod
    def of(cls, scoreboard: Scoreboard) -> Self:
        rows = scoreboard.rows()
        return cls(
            workers=scoreboard.service.workers,
            ready=scoreboard.ready(),
            was_ready=scoreboard.was_ready,
            worker_failed=any(_has_failed(row) for _, row in rows),
        )


def load_seconds(boot_seconds: float) -> float:
    """How long a new master may take to load the application: its check loads it, and then it does again."""
    return 2 * check_seconds(boot_seconds) + MARGIN_SECONDS


def _has_failed(row: Row) -> bool:
    return bool(row.exited_at) and row.exit_reason not in EXPECTED_EXITS


class Handover:
    """One attempt, as the old master sees it. All times are monotonic."""

    def __init__(self, now: float, *, boot_seconds: float, kill_seconds: float) -> None:
        self._boot_seconds, self._kill_seconds = boot_seconds, kill_seconds
        self._is_loaded = False
        self._load_seconds = load_seconds(boot_seconds)
        self._deadline = now + self._load_seconds
        self._ready_since: float | None = None
        self._kill_at: float | None = None  # once it has been rejected

    def poll(self, progress: Progress | None, now: float) -> Decision:
        """Returns what to do now. `progress` is None until the new master has made its scoreboard."""
        if self._kill_at is not None:
            return Decision(Verdict.KILL if now > self._kill_at else Verdict.WAIT)
        if progress is not None and not self._is_loaded:
            self._is_loaded = True
            self._deadline = now + self._boot_seconds + MARGIN_SECONDS
        if reason := self._rejection(progress, now):
            return self.reject(reason, now)
        return Decision(Verdict.ACCEPT if self._passed_probation(progress, now) else Verdict.WAIT)

    def reject(self, reason: str, now: float) -> Decision:
        self._kill_at = now + self._kill_seconds + MARGIN_SECONDS
        return Decision(Verdict.REJECT, reason)

    def _rejection(self, progress: Progress | None, now: float) -> str:
        """Why the new master is rejected, or nothing."""
        if progress is not None and progress.worker_failed:
            return "a worker of the new release ended"
        if self._ready_since is not None or now <= self._deadline:
            return ""
        if progress is None:
            return f"the new master has not loaded the application within {self._load_seconds:g} s"
        return "the new release was not ready in time (COACHMAN_BOOT_SECONDS)"

    def _passed_probation(self, progress: Progress | None, now: float) -> bool:
        if progress is None or not progress.was_ready or progress.ready < progress.workers:
            self._ready_since = None
            return False
        if self._ready_since is None:
            self._ready_since = now
        return now - self._ready_since >= PROBATION_SECONDS


def precondition_error(*, pid: int, reexec_pid: int, master_pid: int, was_ready: bool, folder: Path) -> str:
    """Why there can be no handover now, or nothing.

    `pid` is this master's, `reexec_pid` that of one that it is handing over to, `master_pid` that of one that
    still hands over to it.
    """
    if pid == FIRST_PROCESS:
        return FIRST_PROCESS_SENTENCE
    if reexec_pid:
        return f"a handover to master {reexec_pid} is under way"
    if master_pid:
        return f"the master before this one, {master_pid}, still drains"
    if not was_ready:
        return "this generation has not been ready itself"
    if not runtime_dir.is_published(folder, pid):
        return f"there is no scoreboard of this master in COACHMAN_RUNTIME_DIR={folder}"
    return ""
