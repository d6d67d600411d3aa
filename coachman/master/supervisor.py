"""The master: Gunicorn's arbiter with Coachman's supervision. Everything here runs in the master.

Overridden are the steps of the arbiter's loop; its signals, sockets, forks and the loop itself stay
Gunicorn's. What is to be done is decided in the other files of this folder, by functions on values.
"""

import contextlib
import logging
import os
import signal
import time
from typing import Any, NamedTuple, Self

from gunicorn.errors import HaltServer

from coachman.master import handover, shutdown
from coachman.master.counts import Counts
from coachman.master.forking import ForkControl
from coachman.master.gunicorn_versions import SupervisedArbiter
from coachman.master.handover_control import HandoverControl
from coachman.master.runtime_dir_watch import RuntimeDirWatch
from coachman.master.status_reporter import StatusReporter
from coachman.master.takeover import Takeover
from coachman.master.worker_pool import WorkerPool
from coachman.settings import MOST_WORKERS, ServerSettings
from coachman.state.events import Events
from coachman.state.history import History
from coachman.state.scoreboard import Scoreboard
from coachman.system.process import START_FAILED
from coachman.system.sd_notify import Notifier

QUICK_STOP_SECONDS = 2
NEVER_READY = "A worker did not start, and the service had never been ready."


class SupervisorContext(NamedTuple):
    """The objects that a supervisor works with."""

    settings: ServerSettings
    scoreboard: Scoreboard
    takeover: Takeover
    systemd: Notifier
    counts: Counts
    listener_kinds: list[str]  # of LISTENERS, in their order


class Supervisor(SupervisedArbiter):
    LISTENERS: list[Any]
    WORKERS: dict[int, Any]
    reexec_pid: int  # of the master that is to take over, or has
    master_pid: int  # of the one that this one takes over from, until it has ended

    @classmethod
    def take_over(cls, arbiter: Any, context: SupervisorContext) -> Self:
        """Turns an arbiter that does not listen yet into a supervisor.

        Gunicorn has no setting for the class of its arbiter, so the one that it has made is given this class.
        """
        arbiter.__class__ = cls
        supervisor: Self = arbiter
        supervisor._init_supervision(context)
        return supervisor

    def _init_supervision(self, context: SupervisorContext) -> None:
        """Initialises what Arbiter.__init__ does not know."""
        settings, scoreboard, takeover, systemd, counts, self.listener_kinds = context
        self.settings, self.scoreboard, self._counts = settings, scoreboard, counts
        self.events = Events(settings.runtime_dir, takeover.generation)
        self._history = History(settings.runtime_dir, takeover.generation)
        self._runtime_dir = RuntimeDirWatch(settings.runtime_dir, os.getpid(), self.events)
        self._handover = HandoverControl(settings, scoreboard, self.events, counts, systemd)
        self._is_stopping = self._has_told_readiness = False
        self._began = time.monotonic()
        self._start_failure = ""
        self._reporter = StatusReporter(
            scoreboard,
            systemd,
            is_active_master=lambda: takeover.is_accepted() and not self._handover.is_accepted,
            on_lines_dropped=counts.lines_dropped,
        )
        self._forks = ForkControl(self.events)
        self.pool = WorkerPool(
            settings, scoreboard, self.events, counts, fork=self.spawn_worker, kill=self.kill_worker
        )

    # The steps of Gunicorn's loop.

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        limit = self.pool.poll_timeout(is_changing=self._handover.is_under_way)
        return super().wait_for_signals(min(timeout, limit))

    def murder_workers(self) -> None:
        self.pool.kill_unresponsive()

    def manage_workers(self) -> None:
        if self.scoreboard.service.workers != self.num_workers:
            self.scoreboard.update_service(workers=self.num_workers)
        self.scoreboard.record_master_heartbeat(self.settings.hang_seconds)
        self.scoreboard.record_readiness()
        self._tell_readiness()
        self._runtime_dir.check()
        self.pool.manage(int(self.num_workers))
        self._reporter.notify_systemd(self.settings.hang_seconds)
        self.events.poll(self.scoreboard)
        self._history.poll(self.scoreboard)
        if self._handover.poll():
            raise StopIteration  # Gunicorn's way to stop

    def reap_workers(self) -> None:
        """As Gunicorn's, whose `child_exit` hook does not get to know how the worker ended."""
        # What /readyz has answered stays true, even if a worker was killed before the loop's next iteration.
        self.scoreboard.record_readiness()
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self.reexec_pid:
                    self.reexec_pid = 0
                    self._handover.has_ended(os.waitstatus_to_exitcode(status))
                elif pid in self.WORKERS:
                    self._worker_has_ended(pid, os.waitstatus_to_exitcode(status))
                # Others are orphans of this container, which come to us when we are its first process.

    def stop(self, graceful: bool = True) -> None:
        is_first = not self._is_stopping  # Gunicorn calls it again after a quick stop
        self._is_stopping = True
        began, in_flight = time.monotonic(), sum(row.in_flight for _, row in self.scoreboard.rows())
        if not self._handover.is_accepted:
            self.events.record("stopping", f"Master {self.pid} stops")
        self._reporter.notify_systemd_of_stop()
        self.pool.note_stop()
        if not graceful:
            self.cfg.set("graceful_timeout", QUICK_STOP_SECONDS)
        self._handover.abandon(signal.SIGTERM if graceful else signal.SIGQUIT)
        unlink = self.reexec_pid == self.master_pid == 0 and not self.systemd
        shutdown.close_listeners(self.LISTENERS, unlink=unlink)
        self.LISTENERS = []
        super().stop(graceful)
        self.pool.note_kill()
        shutdown.reap_until(lambda: self.pool.is_empty, self.reap_workers, shutdown.LAST_REAP_SECONDS)
        self._wait_for_successor()
        if is_first and not self._start_failure:
            self._tell_end(time.monotonic() - began, in_flight)

    def maybe_promote_master(self) -> None:
        predecessor = self.master_pid
        super().maybe_promote_master()
        if predecessor and not self.master_pid:
            self._counts.generation_ended(self.scoreboard.service.generation - 1)

    # Signals.

    def handle_ttin(self) -> None:
        if self.num_workers < MOST_WORKERS:
            super().handle_ttin()

    def handle_hup(self) -> None:
        """Gunicorn's reload drops requests, and with a release that does not load it ends the service."""
        self.log.warning("SIGHUP is ignored: a new release or new settings come in with a new master")

    def handle_usr2(self) -> None:
        # Since the loop last looked, the master before may have ended, and the last worker become ready.
        self.maybe_promote_master()
        self.scoreboard.record_readiness()
        error = handover.precondition_error(
            reexec_pid=self.reexec_pid,
            master_pid=self.master_pid,
            was_ready=self.scoreboard.was_ready,
            folder=self.settings.runtime_dir,
            pid=self.pid,
        )
        if error:
            self.events.emit(logging.ERROR, "handover-ignored", "SIGUSR2 is ignored: %s", error)
        else:
            self._handover.begin(self._fork_master)

    # Processes.

    def spawn_worker(self) -> Any:
        """The pid of the new worker, None where the operating system refuses the fork, which is logged."""
        return self._forks.fork(super().spawn_worker)

    def kill_worker(self, pid: int, sig: int) -> None:
        super().kill_worker(pid, sig)
        if pid not in self.WORKERS:  # reaped elsewhere, and Gunicorn has removed it
            self.pool.forget(pid)

    def _fork_master(self) -> int:
        self.reexec()
        return self.reexec_pid

    def _worker_has_ended(self, pid: int, code: int) -> None:
        worker = self.WORKERS.pop(pid)
        worker.tmp.close()
        failed = self.pool.has_ended(pid, code).is_failure
        self.cfg.child_exit(self, worker)
        if failed and not self.scoreboard.was_ready and not self._is_stopping:
            why = self.pool.last_words.of(worker.context.slot.number) if self.pool.is_first_start else ""
            self._start_failure = why or NEVER_READY
            raise HaltServer(self._start_failure, START_FAILED)

    def _tell_readiness(self) -> None:
        if self._has_told_readiness or not self.scoreboard.was_ready:
            return
        self._has_told_readiness = True
        who = "The worker serves" if self.num_workers == 1 else f"All {self.num_workers} workers serve"
        self.log.info("%s, %.1f s after the start", who, time.monotonic() - self._began)

    def _tell_end(self, seconds: float, in_flight: int) -> None:
        has_handed_over = self._handover.is_accepted
        who = f"Generation {self.scoreboard.service.generation} has ended" if has_handed_over else "Stopped"
        told = shutdown.sentence(seconds, in_flight, self.pool.ends_in_stop or [])
        self.log.info("%s %s", who, told)

    def _wait_for_successor(self) -> None:
        """A stop in the middle of a handover ends both masters; one that has taken over is left alone."""

        def has_ended() -> bool:
            return not self._handover.is_under_way

        if not shutdown.reap_until(has_ended, self.reap_workers, self.cfg.graceful_timeout):
            self._handover.signal(signal.SIGKILL)
            shutdown.reap_until(has_ended, self.reap_workers, shutdown.LAST_REAP_SECONDS)
