"""The workers of one master: forks, stops, kills and replaces them, as the policies of this folder decide."""

import logging
import signal
import time
from collections.abc import Callable, Iterable

from coachman.logs.last_words import LastWords
from coachman.master import liveness, restart_policy, scheduling
from coachman.master.counts import Counts
from coachman.master.forking import RETRY_SECONDS
from coachman.master.liveness import SuspendDetector
from coachman.master.managed_worker import ManagedWorker
from coachman.master.recycling import Recycling, Retire, Start
from coachman.master.restart_policy import Exit
from coachman.master.shutdown import End
from coachman.master.status_reporter import exit_line, failure_fields
from coachman.settings import ServerSettings
from coachman.state.events import Events
from coachman.state.scoreboard import SLOTS, Row, Scoreboard, Slot
from coachman.state.states import Reason, State, words

LAST_WORD_SECONDS = 1.0  # from SIGABRT, which writes the stacks, to SIGKILL


class WorkerPool:
    def __init__(
        self,
        settings: ServerSettings,
        scoreboard: Scoreboard,
        events: Events,
        counts: Counts,
        *,
        fork: Callable[[], int | None],
        kill: Callable[[int, int], None],
    ) -> None:
        """`fork` returns the pid of a new worker, None where it fails; `kill` sends a signal to a pid."""
        self._settings, self._scoreboard = settings, scoreboard
        self._events, self._counts = events, counts
        self._spawn, self._kill = fork, kill
        self.last_words = LastWords(SLOTS)
        self.ends_in_stop: list[End] | None = None  # once the service stops
        self._workers: dict[int, ManagedWorker] = {}  # by pid
        self._next: ManagedWorker | None = None  # the one that is being forked
        self._recycling = Recycling()
        self._suspension = SuspendDetector(time.monotonic())
        self._due: dict[int, float] = {}  # slot number -> when its next worker may be forked, monotonic

    @property
    def is_empty(self) -> bool:
        return not self._workers

    @property
    def is_first_start(self) -> bool:
        """Whether a worker that fails now ends the service, with its own sentence as the last line.

        That of a handover's new generation is in the log which the command shows.
        """
        return self._scoreboard.service.generation == 1 and not self._scoreboard.was_ready

    def poll_timeout(self, *, is_changing: bool) -> float:
        """Seconds until the next scheduled action, unless a signal comes first."""
        is_changing = (
            is_changing
            or self._recycling.is_under_way
            or any(worker.is_changing for worker in self._workers.values())
        )
        return scheduling.poll_timeout(time.monotonic(), self._due.values(), is_changing=is_changing)

    def kill_unresponsive(self) -> None:
        """Kills unresponsive workers: by SIGABRT, which has them log their stacks, then by SIGKILL."""
        now = time.monotonic()
        if suspended := self._suspension.check(now):
            for worker in self._workers.values():
                worker.was_suspended(suspended)
        if self._suspension.is_resuming(now):
            return
        for worker in list(self._workers.values()):
            if worker.aborted_at is not None:
                if now - worker.aborted_at > LAST_WORD_SECONDS:
                    self._kill(worker.pid, signal.SIGKILL)
                continue
            found = liveness.kill_reason(
                worker.row,
                now,
                self._settings,
                forked_at=worker.forked_at,
                stop_requested_at=worker.stop_requested_at,
            )
            if found is not None:
                self._abort(worker, *found)

    def manage(self, size: int) -> None:
        """Brings the number of workers to `size`, and recycles those that have served long enough."""
        for worker in self._workers.values():
            worker.clock_step(_clock_offset())
        self._detect_external_sigterm()
        for worker in scheduling.surplus(self._active(), size + self._recycling.is_under_way):
            self._request_stop(worker, Reason.SCALED_DOWN)
        self._fork_missing(size)
        self._recycle(size)

    def next_slot(self) -> Slot:
        """The slot of the worker that is being forked; its row says so from here on."""
        assert self._next is not None, "called by the pre_fork hook alone"
        slot = self._next.slot
        if slot.number >= self._scoreboard.service.slots:
            self._scoreboard.update_service(slots=slot.number + 1)
        slot.write(slot.read().at_fork(time.time()))
        self.last_words.clear(slot.number)
        if self._scoreboard.loads is not None:
            self._scoreboard.loads.withdraw(slot.number)  # what the worker before has left there
        if self._scoreboard.traffic is not None:
            self._scoreboard.traffic.clear(slot.number)
        return slot

    def note_stop(self) -> None:
        """Records that Gunicorn asks all workers to stop."""
        self.ends_in_stop = []
        for worker in self._workers.values():
            worker.request_stop(Reason.STOPPED, time.monotonic())

    def note_kill(self) -> None:
        """Records that Gunicorn has killed the remaining workers, which did not drain in time."""
        for worker in self._workers.values():
            worker.kill_reason = worker.kill_reason or Reason.DRAIN_TIMEOUT

    def forget(self, pid: int) -> None:
        """Removes a worker that was reaped elsewhere."""
        self._workers.pop(pid, None)

    def has_ended(self, pid: int, code: int) -> Exit:
        """Has to be called once for each worker that has been reaped. Returns what its end means."""
        worker = self._workers.pop(pid)
        slot, row, now = worker.slot, worker.row, time.time()
        exit_ = restart_policy.judge(
            row, _now_of(worker), code, stop_reason=worker.stop_reason, kill_reason=worker.kill_reason
        )
        is_orderly = code == 0 and row.state == State.DRAINING
        most_lost = self.last_words.requests_cut(slot.number) if is_orderly else self._most_lost(slot, row)
        is_last = not self._scoreboard.was_ready
        level, message, *arguments = exit_line(worker, row, code, exit_, most_lost, is_last=is_last)
        why = failure_fields(exit_, self.last_words.of(slot.number))
        event = {"slot": slot.number, "ended_pid": pid, "requests_lost_at_most": most_lost, **why}
        # Before the row: who sees in it that a worker has ended, such as the master that hands over to this
        # one, looks for the reason among the events at once.
        self._events.record(words(exit_.reason), message % tuple(arguments), level, **event)
        slot.write(row.at_end(now, code, exit_.reason, failures=exit_.failures, backs_off=bool(exit_.delay)))
        self._count_ended(slot, row.requests, row.lines_dropped, exit_.reason)
        self._recycling.has_ended(worker)
        if worker.is_active:
            self._due[slot.number] = time.monotonic() + exit_.delay
        if self.ends_in_stop is not None:
            self.ends_in_stop.append(End(code, most_lost))
        self._events.log(level, words(exit_.reason), message, *arguments, **event)
        return exit_

    def _most_lost(self, slot: Slot, row: Row) -> int:
        """A bound of the requests that ended with a worker: one on each connection that it had.

        Its row is as old as its last heartbeat, and a request that blocked the event loop is not in it.
        """
        loads = self._scoreboard.loads
        return max(row.in_flight, row.connections, loads.connections(slot.number) if loads else 0)

    def _count_ended(self, slot: Slot, requests: int, lines_dropped: int, reason: Reason) -> None:
        service = self._scoreboard.service
        self._scoreboard.update_service(
            requests=service.requests + requests, lines_dropped=service.lines_dropped + lines_dropped
        )
        self._counts.worker_ended(slot.number, service.generation, reason)

    def _active(self) -> list[ManagedWorker]:
        return [worker for worker in self._workers.values() if worker.is_active]

    def _detect_external_sigterm(self) -> None:
        """A worker that somebody sends SIGTERM drains: it is replaced at once, like one that we told.

        One that hardly served is waited for: an application that ends itself so is a crash loop.
        """
        for worker in self._active():
            row = worker.row
            if row.state == State.DRAINING:
                worker.stop_requested_at = worker.stop_requested_at or time.monotonic()
                if not restart_policy.is_failure(row, _now_of(worker)):
                    worker.stop_reason = Reason.STOPPED

    def _fork_missing(self, size: int) -> None:
        """Forks missing workers for the slots whose backoff is over."""
        held = {worker.slot.number for worker in self._workers.values()}
        missing = size + self._recycling.is_under_way - len(self._active())
        numbers = scheduling.slots_to_fill(held, self._due, missing)
        self._due = {number: due for number, due in self._due.items() if number in numbers}
        self._forget_backoffs_but(numbers)
        for number in numbers:
            if time.monotonic() >= self._due.get(number, 0.0):
                self._fork(self._scoreboard.slots[number])

    def _forget_backoffs_but(self, numbers: Iterable[int]) -> None:
        for number, row in self._scoreboard.rows():
            if row.state == State.BACKING_OFF and number not in numbers:
                self._scoreboard.slots[number].update(state=State.DEAD)

    def _fork(self, slot: Slot) -> None:
        forked_at = time.monotonic()
        if self._scoreboard.is_on_trial:
            forked_at += restart_policy.MIN_UPTIME_SECONDS  # which it is held back: see hooks.pre_fork
        # Gunicorn's spawn_worker takes no argument: the pre_fork hook asks for the slot, by next_slot.
        worker = self._next = ManagedWorker(slot, self._settings, forked_at)
        pid = self._spawn()
        if pid is None:
            slot.update(state=State.BACKING_OFF, since=time.time())
            self._due[slot.number] = time.monotonic() + RETRY_SECONDS
            return
        worker.pid = pid
        self._workers[pid] = worker
        self._due.pop(slot.number, None)

    def _recycle(self, size: int) -> None:
        decision = self._recycling.decide(list(self._workers.values()), size, time.monotonic())
        if isinstance(decision, Start):
            message, name = "%s is to be replaced: %s", decision.worker.name
            self._events.emit(logging.INFO, "recycling", message, name, words(decision.reason))
            self._fork_missing(size)
        elif isinstance(decision, Retire):
            self._request_stop(decision.worker, decision.reason)

    def _request_stop(self, worker: ManagedWorker, reason: Reason) -> None:
        worker.request_stop(reason, time.monotonic())
        self._kill(worker.pid, signal.SIGTERM)

    def _abort(self, worker: ManagedWorker, reason: Reason, limit: float) -> None:
        sentence, slot = liveness.SENTENCES[reason].format(limit), worker.slot.number
        message = "%s %s: killed; its stack traces follow, if they can be read"
        self._events.emit(logging.CRITICAL, "killed", message, worker.name, sentence, slot=slot)
        worker.aborted_at, worker.kill_reason = time.monotonic(), reason
        self._kill(worker.pid, signal.SIGABRT)


def _clock_offset() -> float:
    return time.time() - time.monotonic()


def _now_of(worker: ManagedWorker) -> float:
    """UNIX time by the clock as it was when the worker was ready, which its row's times are of."""
    return time.time() - worker.clock_step(_clock_offset())
