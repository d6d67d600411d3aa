"""Decides when a worker that has served long enough is replaced, and by which steps."""

from collections.abc import Sequence
from typing import NamedTuple

from coachman.master.managed_worker import ManagedWorker
from coachman.state.states import Reason, State


class Start(NamedTuple):
    """Fork a replacement while `worker` still serves."""

    worker: ManagedWorker
    reason: Reason


class Retire(NamedTuple):
    """The replacement serves: drain `worker`."""

    worker: ManagedWorker
    reason: Reason


class Recycling:
    """Recycles one worker at a time, and only while all serve.

    The successor is ready before its predecessor drains, so that no capacity is lost.
    """

    def __init__(self) -> None:
        self._outgoing: ManagedWorker | None = None
        self._reason = Reason.NONE

    @property
    def is_under_way(self) -> bool:
        """Whether one extra worker is needed at the moment."""
        return self._outgoing is not None and self._outgoing.is_active

    def decide(self, workers: Sequence[ManagedWorker], wanted: int, now: float) -> Start | Retire | None:
        """Returns what to do now. `workers` are all that live, `wanted` is how many there should be.

        To be called in each iteration of the loop, since memory is sampled here; `now` is monotonic.
        """
        if self._outgoing is not None:
            if self.is_under_way and _all_ready(workers, wanted + 1):
                return Retire(self._outgoing, self._reason)
            return None
        expired = [
            (worker, reason)
            for worker in workers
            if worker.is_active and (reason := worker.lifetime.expired(worker.row, now)) is not None
        ]
        if not expired or len(workers) != wanted or not _all_ready(workers, wanted):
            return None
        self._outgoing, self._reason = expired[0]
        return Start(self._outgoing, self._reason)

    def has_ended(self, worker: ManagedWorker) -> None:
        """Has to be called for each worker that has been reaped."""
        if worker is self._outgoing:
            self._outgoing = None


def _all_ready(workers: Sequence[ManagedWorker], count: int) -> bool:
    """Whether that many workers stay, and all of them serve."""
    active = [worker for worker in workers if worker.is_active]
    return len(active) == count and all(worker.row.state == State.READY for worker in active)
