"""Decides when the master's loop acts next, which slots get a worker, and which workers leave first."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from coachman.master.managed_worker import ManagedWorker
from coachman.state.scoreboard import SLOTS
from coachman.state.states import State

POLL_SECONDS = 0.5  # between two iterations of the loop while nothing happens
BUSY_POLL_SECONDS = 0.05  # while something starts or ends


def poll_timeout(now: float, due: Iterable[float], *, is_changing: bool) -> float:
    """Seconds until the next scheduled action. `due` are the times of forks, monotonic as `now`."""
    limit = BUSY_POLL_SECONDS if is_changing else POLL_SECONDS
    return max(0.0, min([limit, *(time - now for time in due)]))


def slots_to_fill(held: Collection[int], due: Mapping[int, float], missing: int) -> list[int]:
    """The slots whose turn it is, at most as many as workers are missing: the lowest that are free.

    `due` are slots that have lost their worker. Those come first: they keep their count of failures.
    """
    lowest = set(range(min(len(held) + max(missing, 0), SLOTS)))
    candidates = (lowest - set(held)) | set(due)
    return sorted(candidates, key=lambda number: (number not in due, number))[: max(missing, 0)]


def surplus(active: Sequence[ManagedWorker], wanted: int) -> list[ManagedWorker]:
    """Returns the workers to stop when fewer are wanted: first those that do not serve, youngest first.

    Then those in the highest slots, so that slots stay without gaps.
    """
    count = max(0, len(active) - wanted)
    return sorted(active, key=_order_of_leaving)[:count]


def _order_of_leaving(worker: ManagedWorker) -> tuple[bool, float]:
    serves = worker.row.state == State.READY
    return serves, -worker.slot.number if serves else -worker.forked_at
