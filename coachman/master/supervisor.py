"""The master: Gunicorn's arbiter, with a supervision of its own. Everything here runs in the master.

Gunicorn has no setting for the class of its arbiter, so the one that it has made is given this class
before it listens (hooks.on_starting). Overridden are the steps of its loop; its signals, sockets, forks
and the loop itself stay Gunicorn's.
"""

import contextlib
import logging
import os
import signal
import time
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from coachman.master import handover as handovers
from coachman.master import liveness, restart_backoff, shutdown
from coachman.master.handover import Handover
from coachman.master.recycling import Lifetime, Recycling
from coachman.master.status_reporter import Report, name_of
from coachman.master.takeover import Succession
from coachman.metrics import store
from coachman.metrics.counters import Metrics
from coachman.settings import MOST_WORKERS, ServerSettings
from coachman.state.events import Events
from coachman.state.history import History
from coachman.state.scoreboard import SLOTS, Scoreboard, Slot
from coachman.state.states import Reason, State, words
from coachman.system.process import leave
from coachman.worker import STOP_SIGNALS, Worker

START_FAILED = 3
QUICK_STOP_SECONDS = 2
LAST_WORD_SECONDS = 1.0  # from SIGABRT, which writes the stacks, to SIGKILL
FORK_RETRY_SECONDS = 0.5
TURN_SECONDS = 0.5
AWAY_SECONDS = 1.0  # a turn that comes so late: the master itself was paused
SPARE_SECONDS = 1.0  # ten heartbeats


class Supervisor(Arbiter):
    scoreboard: Scoreboard
    settings: ServerSettings
    metrics: Metrics | None
    listener_kinds: list[str]  # of LISTENERS, in their order
    LISTENERS: list[Any]
    reexec_pid: int  # of the master that is to take over, or has
    master_pid: int  # of the one that this one takes over from, until it has ended

    def adopted(self, scoreboard: Scoreboard, settings: ServerSettings, succession: Succession) -> None:
        """Called once, in place of a constructor."""
        self.scoreboard, self.settings = scoreboard, settings
        self.has_handed_over = False
        self.handover: Handover | None = None
        self._report = Report(
            scoreboard, lambda: succession.is_accepted() and not self.has_handed_over, self.metrics
        )
        self.events = Events(settings.runtime_dir, succession.generation)
        self._history = History(settings.runtime_dir, succession.generation)
        self.is_stopping = False
        self._due: dict[int, float] = {}  # slot number -> when its next worker may be forked, monotonic
        self._recycling = Recycling(self)
        self._fork_error = ""
        self._turned_at = time.monotonic()
        self._spare_until = 0.0

    # The steps of Gunicorn's loop.

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        return super().wait_for_signals(max(0.0, min(timeout, self._patience())))

    def murder_workers(self) -> None:
        """Kills those that are lost: with SIGABRT first, which has them write their stacks."""
        now = time.monotonic()
        if now - self._turned_at > AWAY_SECONDS:
            # All of us were paused (a frozen cgroup, a suspended VM). The workers' heartbeats are as old
            # as the pause, and they need a moment to beat again.
            self._spare_until = now + SPARE_SECONDS
            for worker in self.WORKERS.values():
                worker.was_paused(now - self._turned_at)
        self._turned_at = now
        if now < self._spare_until:
            return
        for worker in list(self.WORKERS.values()):
            if worker.aborted:
                if now - worker.aborted_at > LAST_WORD_SECONDS:
                    self.kill_worker(worker.pid, signal.SIGKILL)
                continue
            verdict = liveness.verdict(
                _slot(worker).read(), now, self.settings, forked_at=worker.forked_at, told_at=worker.told_at
            )
            if verdict is not None:
                self._abort(worker, *verdict)

    def manage_workers(self) -> None:
        if self.scoreboard.service.workers != self.num_workers:
            self.scoreboard.update_service(workers=self.num_workers)
        self.scoreboard.record_master_heartbeat(self.settings.hang_seconds)
        self.scoreboard.note_readiness()
        self._notice_those_told_by_others()
        self._retire_surplus()
        self.fork_missing()
        self._recycling.look()
        self._report.tell_systemd(self.settings.hang_seconds)
        self.events.look(self.scoreboard)
        self._history.look(self.scoreboard)
        if self.handover is not None:
            self.handover.look()

    def reap_workers(self) -> None:
        """As Gunicorn's, whose `child_exit` hook does not get to know how the worker ended."""
        # What /readyz has told holds, even if a worker was killed before the master's next turn.
        self.scoreboard.note_readiness()
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self.reexec_pid:
                    self._successor_has_ended(os.waitstatus_to_exitcode(status))
                elif pid in self.WORKERS:
                    self._has_ended(self.WORKERS.pop(pid), os.waitstatus_to_exitcode(status))
                # Others are orphans of this container, which come to us when we are its first process.

    def stop(self, graceful: bool = True) -> None:
        self.is_stopping = True
        if not self.has_handed_over:
            self.events.note("stopping", f"Master {self.pid} stops")
        self._report.tell_systemd_of_stop()
        for worker in self.WORKERS.values():
            self._note_leaving(worker, Reason.STOPPED)
        if not graceful:
            self.cfg.set("graceful_timeout", QUICK_STOP_SECONDS)
        if self.handover is not None and not self.has_handed_over:
            self.handover.abandon(signal.SIGTERM if graceful else signal.SIGQUIT)
        shutdown.close_listeners(self)
        super().stop(graceful)
        shutdown.reap_the_killed(self)
        shutdown.wait_for_successor(self)

    def maybe_promote_master(self) -> None:
        predecessor = self.master_pid
        super().maybe_promote_master()
        if predecessor and not self.master_pid and (counts := store.kept()) is not None:
            counts.forget_generation(self.scoreboard.service.generation - 1)

    # Signals.

    def handle_ttin(self) -> None:
        if self.num_workers < MOST_WORKERS:
            super().handle_ttin()

    def handle_hup(self) -> None:
        """Gunicorn's reload drops requests, and with a release that does not load it ends the service."""
        self.log.warning("SIGHUP is ignored: a new release or new settings come in with a new master")

    def handle_usr2(self) -> None:
        obstacle = handovers.obstacle(self)
        if obstacle:
            self.events.tell(logging.ERROR, "handover-ignored", "SIGUSR2 is ignored: %s", obstacle)
        else:
            self.handover = handovers.begin(self)

    # What the steps consist of.

    def spawn_worker(self) -> Any:
        """Gunicorn does not expect fork() or the heartbeat file to fail, and would end the service."""
        umask = os.umask(0)
        os.umask(umask)
        # A stop that reaches the child before it has its own handlers must wait for them (see
        # Worker.init_signals): the master's, which it inherits, queue the signal where nobody reads it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = self._spawn()
        except (OSError, RuntimeError) as error:
            os.umask(umask)  # Gunicorn has changed it for the file that it could not make
            if str(error) != self._fork_error:
                message = "Cannot fork a worker (%s); tried again every %g s"
                self.events.tell(logging.ERROR, "fork-failed", message, error, FORK_RETRY_SECONDS)
            self._fork_error = str(error)
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._fork_error:
            self.events.tell(logging.INFO, "fork-restored", "Workers can be forked again")
            self._fork_error = ""
        return pid

    def _spawn(self) -> Any:
        """Gunicorn's, of which the child never returns: it would act as a second master, on our workers."""
        try:
            return super().spawn_worker()
        except BaseException as error:
            if os.getpid() == self.pid:
                raise
            if isinstance(error, SystemExit):
                leave(error)
            self.log.error("A worker ends by %r", error)
            os._exit(1)

    def _patience(self) -> float:
        """How long nothing needs to be done, in seconds."""
        now = time.monotonic()
        changing = (
            self._recycling.is_under_way
            or self.handover is not None
            or any(
                worker.aborted or _slot(worker).read().state == State.STARTING
                for worker in self.WORKERS.values()
            )
        )
        return min([0.05 if changing else TURN_SECONDS, *(due - now for due in self._due.values())])

    def staying(self) -> list[Worker]:
        return [worker for worker in self.WORKERS.values() if worker.leaving is None]

    def _wanted(self) -> int:
        """One more while a successor starts."""
        return int(self.num_workers) + self._recycling.is_under_way

    def _notice_those_told_by_others(self) -> None:
        """A worker that somebody sends SIGTERM drains: it is replaced at once, like one that we told.

        One that hardly served is waited for: an application that ends itself so is a crash loop.
        """
        for worker in self.staying():
            row = _slot(worker).read()
            if row.state == State.DRAINING:
                worker.told_at = worker.told_at or time.monotonic()
                if not restart_backoff.is_failure(row, time.time()):
                    worker.leaving = Reason.STOPPED

    def _retire_surplus(self) -> None:
        """Those that do not serve first, the youngest of them first; then those in the highest slots."""
        staying = self.staying()
        surplus = len(staying) - self._wanted()
        if surplus > 0:
            staying.sort(key=_order_of_leaving)
            for worker in staying[:surplus]:
                self.tell_to_leave(worker, Reason.SCALED_DOWN)

    def fork_missing(self) -> None:
        """Each into the lowest free slot, once the slot is due."""
        held = {_slot(worker).number for worker in self.WORKERS.values()}
        missing = max(0, self._wanted() - len(self.staying()))
        # A slot that has lost its worker comes before one that is free: it keeps its count of failures.
        free = set(range(min(len(held) + missing, SLOTS))) - held | set(self._due)
        numbers = sorted(free, key=lambda number: (number not in self._due, number))[:missing]
        self._due = {number: due for number, due in self._due.items() if number in numbers}
        self._forget_backoffs_but(numbers)
        for number in numbers:
            if time.monotonic() >= self._due.get(number, 0.0):
                self._fork(self.scoreboard.slots[number])

    def _forget_backoffs_but(self, numbers: list[int]) -> None:
        for number, row in self.scoreboard.rows():
            if row.state == State.BACKING_OFF and number not in numbers:
                self.scoreboard.slots[number].update(state=State.DEAD)

    def _fork(self, slot: Slot) -> None:
        self._free_slot = slot
        if self.spawn_worker() is not None:
            self._due.pop(slot.number, None)
        else:
            slot.update(state=State.BACKING_OFF, since=time.time())
            self._due[slot.number] = time.monotonic() + FORK_RETRY_SECONDS

    def equip(self, worker: Worker) -> None:
        """Called by the pre_fork hook: the worker gets its slot, and the slot's row says so."""
        slot = self._free_slot
        worker.scoreboard, worker.slot, worker.listener_kinds = self.scoreboard, slot, self.listener_kinds
        worker.metrics = self.metrics
        worker.forked_at = time.monotonic()
        if self.scoreboard.is_on_trial:
            worker.forked_at += restart_backoff.JUST_READY_SECONDS  # see Worker._hold_seconds
        worker.lifetime = Lifetime(self.settings, worker.forked_at)
        if slot.number >= self.scoreboard.service.slots:
            self.scoreboard.update_service(slots=slot.number + 1)
        slot.write(slot.read().at_fork(time.time()))

    def all_ready(self, count: int) -> bool:
        """Whether there are so many workers, and all of them serve."""
        staying = self.staying()
        return len(staying) == count and all(_slot(worker).read().state == State.READY for worker in staying)

    def tell_to_leave(self, worker: Worker, reason: Reason) -> None:
        self._note_leaving(worker, reason)
        self.kill_worker(worker.pid, signal.SIGTERM)

    def _note_leaving(self, worker: Worker, reason: Reason) -> None:
        if worker.leaving is None:
            worker.leaving, worker.told_at = reason, time.monotonic()

    def _abort(self, worker: Worker, reason: Reason, limit: float) -> None:
        sentence = liveness.SENTENCES[reason].format(limit)
        message = "%s %s: killed; its stacks follow where they can be had"
        number = _slot(worker).number
        self.events.tell(logging.CRITICAL, "killed", message, name_of(worker), sentence, slot=number)
        worker.aborted, worker.aborted_at, worker.lost = True, time.monotonic(), reason
        self.kill_worker(worker.pid, signal.SIGABRT)

    def _has_ended(self, worker: Worker, code: int) -> None:
        """Called once for each worker, when it has been reaped."""
        worker.tmp.close()
        slot, now = _slot(worker), time.time()
        row = slot.read()
        failed = worker.leaving is None and restart_backoff.is_failure(row, now)
        failures = row.failures + failed
        delay = restart_backoff.delay_seconds(failures) if failed else 0.0
        unasked = Reason.CRASHED if row.ready_at else Reason.BOOT_FAILED
        reason = worker.lost or worker.leaving or unasked
        slot.write(row.at_end(now, code, reason, failures=failures, backs_off=bool(delay)))
        self._report.count_in(row)
        self._count_end(slot, reason)
        self._recycling.has_ended(worker)
        if worker.leaving is None:
            self._due[slot.number] = time.monotonic() + delay
        level, *told = self._report.ending(worker, row, code, reason, delay)
        self.events.tell(level, words(reason), *told, slot=slot.number)
        self.cfg.child_exit(self, worker)
        if failed and not self.scoreboard.was_ready and not self.is_stopping:
            raise HaltServer("A worker did not start, and the service had never been ready.", START_FAILED)

    def _count_end(self, slot: Slot, reason: Reason) -> None:
        if self.metrics is not None:
            self.metrics.exits.labels(words(reason)).inc()
        if (counts := store.kept()) is not None:
            counts.forget(slot.number, self.scoreboard.service.generation)

    def _successor_has_ended(self, code: int) -> None:
        self.reexec_pid = 0
        if self.handover is not None:
            self.handover.has_ended(code)
            self.handover = None


def _order_of_leaving(worker: Worker) -> tuple[bool, float]:
    slot = _slot(worker)
    serves = slot.read().state == State.READY
    return serves, -slot.number if serves else -worker.forked_at


def _slot(worker: Worker) -> Slot:
    assert worker.slot is not None, "a worker that pre_fork has not seen"
    return worker.slot
