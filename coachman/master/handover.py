"""A new release takes over without a request lost: what the old master does at SIGUSR2.

It forks; the child looks whether the release could start at all (reexec.py) and then becomes a second
master, on the same sockets. When all its workers serve, and go on serving for a moment, it is made the
service's main process and the old master drains. Else it is ended, and the old one has never stopped.
"""

import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from coachman.master import reexec
from coachman.master.reexec import CHECK_SECONDS
from coachman.state import runtime_dir
from coachman.state.handover_files import log_path, note
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, Reason, signal_name, words
from coachman.system import sd_notify

if TYPE_CHECKING:
    from coachman.master.supervisor import Supervisor

PROBATION_SECONDS = 1.5  # above the second within which an end counts as a failure
MARGIN_SECONDS = 5.0  # for what the new master's own limits do not count: its start, its last word
LOAD_SECONDS = 2 * CHECK_SECONDS + MARGIN_SECONDS  # the check loads the application, the new master again
ASKED_FOR = (
    *(Reason.RECYCLED_REQUESTS, Reason.RECYCLED_AGE, Reason.RECYCLED_MEMORY),
    *(Reason.SCALED_DOWN, Reason.STOPPED),
)


class Handover:
    """One attempt. Runs in the old master's loop, which looks at it each turn and never waits for it."""

    def __init__(self, arbiter: "Supervisor") -> None:
        self._arbiter, self.pid = arbiter, arbiter.reexec_pid
        self._settings = arbiter.settings
        self._successor: Scoreboard | None = None
        self._deadline = time.monotonic() + LOAD_SECONDS
        self._sentence = ""  # why it is refused
        self._serves_since: float | None = None
        self._kill_at: float | None = None  # it is refused, and ends

    def look(self) -> None:
        """Raises StopIteration, Gunicorn's way to stop, once the successor has taken over."""
        if self._kill_at is not None:
            if time.monotonic() > self._kill_at:
                self.signal(signal.SIGKILL)  # its workers are killed with it
            return
        try:
            self._find_successor()
        except runtime_dir.OtherLayoutError:
            self.refuse(
                "it comes with another Coachman, which this one cannot read; it comes in by a restart"
            )
            return
        flaw = self._flaw()
        if flaw:
            self.refuse(flaw)
        elif self._has_proved_itself():
            self._accept()

    def has_ended(self, code: int) -> None:
        """Called when the new master has been reaped, whoever ended it."""
        if self._arbiter.has_handed_over:  # too late to go on: systemd starts the service anew
            message = "Master %s, which had taken over, has ended"
            self._arbiter.events.tell(logging.ERROR, "crashed", message, self.pid)
            return
        if not self._sentence:
            how = f"was killed by {signal_name(code)}" if code < 0 else f"ended with exit code {code}"
            self._say_refused(f"the new master {how}")
        runtime_dir.withdraw(self._settings.runtime_dir, self.pid)  # of one that was killed
        note(self._sentence, self._settings.runtime_dir)  # last: until now it has had its say
        self._set_phase(Phase.REFUSED)

    def refuse(self, reason: str) -> None:
        self._say_refused(reason)
        self._kill_at = time.monotonic() + self._settings.kill_seconds + MARGIN_SECONDS
        self._set_phase(Phase.REFUSING)
        self.signal(signal.SIGTERM)  # its workers may have taken requests already, and drain

    def abandon(self, signum: int) -> None:
        """The service stops, so the new master does."""
        self._sentence = self._sentence or "The service was stopped in the middle of the handover."
        self.signal(signum)

    def signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def _find_successor(self) -> None:
        if self._successor is None:
            with contextlib.suppress(OSError):
                self._successor = runtime_dir.scoreboard_of(self._settings.runtime_dir, self.pid)
            if self._successor is not None:
                self._deadline = time.monotonic() + self._settings.boot_seconds + MARGIN_SECONDS

    def _flaw(self) -> str:
        if self._successor is not None and any(_has_failed(row) for _, row in self._successor.rows()):
            return "a worker of the new release ended"
        if self._serves_since is not None or time.monotonic() <= self._deadline:
            return ""
        if self._successor is None:
            return f"the new master has not loaded the application within {LOAD_SECONDS:g} s"
        return "the new release was not ready in time (COACHMAN_BOOT_SECONDS)"

    def _has_proved_itself(self) -> bool:
        successor = self._successor
        if successor is None or not successor.was_ready or successor.ready() < successor.service.workers:
            self._serves_since = None
            return False
        self._serves_since = self._serves_since or time.monotonic()
        return time.monotonic() - self._serves_since >= PROBATION_SECONDS

    def _accept(self) -> None:
        message = "Master %s has taken over; this one drains"
        self._arbiter.events.tell(logging.INFO, "handed-over", message, self.pid)
        self._arbiter.has_handed_over = True
        with contextlib.suppress(OSError):
            log_path(self._settings.runtime_dir).unlink()
        sd_notify.notify(f"MAINPID={self.pid}", "READY=1")
        self._set_phase(Phase.ACCEPTED)
        raise StopIteration

    def _set_phase(self, phase: Phase) -> None:
        if self._arbiter.metrics is not None and phase in (Phase.ACCEPTED, Phase.REFUSED):
            self._arbiter.metrics.handovers.labels(words(phase)).inc()
        self._arbiter.scoreboard.update_service(handover=phase, successor=self.pid)

    def _say_refused(self, reason: str) -> None:
        generation = self._arbiter.scoreboard.service.generation
        self._sentence = f"The handover is refused: {reason}. Generation {generation} serves on."
        self._arbiter.events.tell(logging.ERROR, "refused", self._sentence)
        sd_notify.notify("READY=1")


def _has_failed(row: Row) -> bool:
    return bool(row.restarts) and row.exit_reason not in ASKED_FOR


def obstacle(arbiter: "Supervisor") -> str:
    """Why there can be no handover now, or nothing."""
    # Since the loop last looked, the master before may have ended, and the last worker may have got ready.
    arbiter.maybe_promote_master()
    arbiter.scoreboard.note_readiness()
    if arbiter.reexec_pid:
        return f"a handover to master {arbiter.reexec_pid} is under way"
    if arbiter.master_pid:
        return f"the master before this one, {arbiter.master_pid}, still drains"
    if not arbiter.scoreboard.was_ready:
        return "this generation has not been ready itself"
    folder = arbiter.settings.runtime_dir
    if not runtime_dir.path_of(folder, os.getpid()).exists():
        return f"there is no scoreboard of this master in COACHMAN_RUNTIME_DIR={folder}"
    return ""


def begin(arbiter: "Supervisor") -> Handover | None:
    """Forks the new master. None, with the reason in the log, where that fails."""
    with contextlib.suppress(OSError):
        log_path(arbiter.settings.runtime_dir).unlink(missing_ok=True)
    handovers = arbiter.scoreboard.service.handovers + 1
    arbiter.scoreboard.update_service(handover=Phase.UNDER_WAY, handovers=handovers, successor=0)
    arbiter.events.note("handover", "A handover begins: the new generation is checked, loaded and started")
    sd_notify.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        arbiter.reexec()
    except BaseException as error:
        if os.getpid() != arbiter.pid:
            # The child: it must not come back into the loop, as a second old master with the same workers.
            reexec.end(f"The new master did not come to be: {error!r}", arbiter.settings.runtime_dir)
        if not isinstance(error, OSError):
            raise
        sentence = f"The handover is refused: cannot fork ({error})."
        arbiter.events.tell(logging.ERROR, "refused", sentence)
        note(sentence, arbiter.settings.runtime_dir)
        arbiter.scoreboard.update_service(handover=Phase.REFUSED)
        if arbiter.metrics is not None:
            arbiter.metrics.handovers.labels(words(Phase.REFUSED)).inc()
        sd_notify.notify("READY=1")
        return None
    return Handover(arbiter)
