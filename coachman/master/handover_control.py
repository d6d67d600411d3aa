"""Carries out a handover in the old master, at SIGUSR2. What is decided, and when, is in handover.py.

The old master forks; the child checks whether the release could start at all (reexec.py) and then becomes
a second master, on the same sockets. When all its workers serve, and go on serving for a moment, it is made
the service's main process and the old master drains. Else it is ended, and the old one has never stopped.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable

from coachman.master import reexec
from coachman.master.counts import Counts
from coachman.master.handover import Decision, Handover, Progress, Verdict
from coachman.settings import ServerSettings
from coachman.state import runtime_dir, start_errors
from coachman.state.events import Events
from coachman.state.handover_files import log_path, note, tail
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase, signal_name
from coachman.state.view import View
from coachman.system.sd_notify import Notifier

OTHER_LAYOUT = "it comes with another Coachman, which this one cannot read; it comes in by a restart"


class HandoverControl:
    """Carries out the handovers of a master, and informs the new one, the command, systemd and metrics."""

    def __init__(
        self,
        settings: ServerSettings,
        scoreboard: Scoreboard,
        events: Events,
        counts: Counts,
        systemd: Notifier,
    ) -> None:
        self._settings, self._folder = settings, settings.runtime_dir
        self._scoreboard, self._events, self._counts, self._systemd = scoreboard, events, counts, systemd
        self._handover: Handover | None = None
        self._pid = 0  # of the new master
        self._successor: Scoreboard | None = None
        self._sentence = ""  # why it is refused
        self.is_accepted = False  # the new master speaks for the service from then on

    @property
    def is_under_way(self) -> bool:
        return self._handover is not None and not self.is_accepted

    def begin(self, fork: Callable[[], int]) -> None:
        """Starts the new master. `fork` returns its pid, and does not return in the child, which execs."""
        with contextlib.suppress(OSError):
            log_path(self._folder).unlink(missing_ok=True)
        handovers = self._scoreboard.service.handovers + 1
        self._scoreboard.update_service(handover=Phase.UNDER_WAY, handovers=handovers, successor=0)
        message = "A handover begins: the new generation is checked, loaded and started"
        self._events.record("handover", message)
        self._systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        ours = os.getpid()
        try:
            self._pid = fork()
        except BaseException as error:
            if os.getpid() != ours:
                # The child: in the loop it would be a second old master, with the same workers.
                reexec.fail(f"The new master did not come to be: {error!r}", self._folder)
            if not isinstance(error, OSError):
                raise
            self._refuse_without_fork(error)
            return
        self._successor, self._sentence = None, ""
        self._handover = Handover(
            time.monotonic(),
            boot_seconds=self._settings.boot_seconds,
            kill_seconds=self._settings.kill_seconds,
        )

    def poll(self) -> bool:
        """To be called in each iteration of the loop; never waits. True when the new master takes over."""
        if self._handover is None or self.is_accepted:
            return False
        decision = self._decide(self._handover)
        if decision.verdict is Verdict.ACCEPT:
            self._accept()
        elif decision.verdict is Verdict.REJECT:
            self._log_refusal(f"{decision.reason}{self._start_error()}")
            self._set_phase(Phase.REFUSING)
            self.signal(signal.SIGTERM)  # its workers may have taken requests already, and drain
        elif decision.verdict is Verdict.KILL:
            self.signal(signal.SIGKILL)  # its workers are killed with it
        return self.is_accepted

    def has_ended(self, code: int) -> None:
        """Has to be called when the new master has been reaped."""
        if self.is_accepted:  # too late to go on: systemd starts the service anew
            message = "Master %s, which had taken over, has ended"
            self._events.emit(logging.ERROR, "crashed", message, self._pid)
        elif self._handover is not None:
            if not self._sentence:
                self._log_refusal(self._why_ended(code))
            runtime_dir.withdraw(self._folder, self._pid)  # of one that was killed
            note(self._sentence, self._folder)  # last: until now it has had its say
            self._set_phase(Phase.REFUSED)
        self._handover = None

    def abandon(self, signum: int) -> None:
        """Ends the new master with the service, which stops. One that has taken over is left alone."""
        if self.is_under_way:
            self._sentence = self._sentence or "The service was stopped in the middle of the handover."
            self.signal(signum)

    def signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signum)

    def _decide(self, handover: Handover) -> Decision:
        now = time.monotonic()
        try:
            if self._successor is None:
                with contextlib.suppress(OSError):
                    self._successor = runtime_dir.scoreboard_of(self._folder, self._pid)
        except runtime_dir.OtherLayoutError:
            if not self._sentence:
                return handover.reject(OTHER_LAYOUT, now)
        return handover.poll(Progress.of(self._successor) if self._successor else None, now)

    def _start_error(self) -> str:
        """What a worker of the new generation said of its failed start, if one did."""
        errors = start_errors.of_view(self._folder, View.of(self._successor)) if self._successor else {}
        return next((f": {why.removesuffix('.')}" for why in errors.values()), "")

    def _why_ended(self, code: int) -> str:
        """The check's own sentence where the release was not accepted by it, else how the master ended."""
        if code < 0:
            return f"the new master was killed by {signal_name(code)}"
        said = tail(self._folder, 1) if self._successor is None else ""
        return said.removesuffix(".") or f"the new master ended with exit code {code}"

    def _accept(self) -> None:
        message = "Master %s has taken over; this one drains"
        self._events.emit(logging.INFO, "handed-over", message, self._pid)
        self.is_accepted = True
        with contextlib.suppress(OSError):
            log_path(self._folder).unlink()
        self._systemd.notify(f"MAINPID={self._pid}", "READY=1")
        self._set_phase(Phase.ACCEPTED)

    def _set_phase(self, phase: Phase) -> None:
        if phase in (Phase.ACCEPTED, Phase.REFUSED):
            self._counts.handover_ended(phase)
        self._scoreboard.update_service(handover=phase, successor=self._pid)

    def _log_refusal(self, reason: str) -> None:
        generation = self._scoreboard.service.generation
        self._sentence = f"The handover is refused: {reason}. Generation {generation} serves on."
        self._events.emit(logging.ERROR, "refused", self._sentence)
        self._systemd.notify("READY=1")

    def _refuse_without_fork(self, error: OSError) -> None:
        sentence = f"The handover is refused: cannot fork ({error})."
        self._events.emit(logging.ERROR, "refused", sentence)
        note(sentence, self._folder)
        self._scoreboard.update_service(handover=Phase.REFUSED)
        self._counts.handover_ended(Phase.REFUSED)
        self._systemd.notify("READY=1")
