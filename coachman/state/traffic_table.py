"""What each worker has answered and how fast, in shared memory: the master makes the seconds of it.

Workers write it with what they do ten times a second and once a second anyway, never for each request.
"""

import mmap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Upper bounds in seconds; the last bucket has what took longer. The histogram of /metrics has the same.
DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BUCKETS = len(DURATION_BOUNDS) + 1
_MEASURED_AT, _WORK, _ERRORS, _FAILURES, _FIRST_BUCKET = range(5)
_WIDTH = _FIRST_BUCKET + _BUCKETS


class Traffic(NamedTuple):
    """Of one worker since its start. The numbers only grow."""

    measured_at: float = 0.0  # monotonic: when `work` was written
    work: float = 0.0  # seconds: the durations of all requests, those that are still open included
    errors: float = 0.0  # answered with 4xx
    failures: float = 0.0  # answered with 5xx
    buckets: tuple[float, ...] = (0.0,) * _BUCKETS  # requests by duration


class TrafficTable:
    """Made by the master before it forks. A worker writes its own slot; the master reads, without a lock."""

    def __init__(self, slots: int) -> None:
        # Doubles: aligned, so never half written.
        self._values = memoryview(mmap.mmap(-1, slots * _WIDTH * 8)).cast("d")

    def clear(self, slot: int) -> None:
        """Called by the master before it forks a worker: the one before in the slot has left its numbers."""
        at = slot * _WIDTH
        self._values[at : at + _WIDTH] = memoryview(bytes(_WIDTH * 8)).cast("d")

    def write_work(self, slot: int, measured_at: float, work: float) -> None:
        at = slot * _WIDTH
        self._values[at + _WORK] = work
        self._values[at + _MEASURED_AT] = measured_at

    def add(self, slot: int, status: int, buckets: Mapping[int, int]) -> None:
        """Adds requests that were answered with `status`: their number by bucket."""
        at = slot * _WIDTH
        if status >= 400:
            self._values[at + (_FAILURES if status >= 500 else _ERRORS)] += sum(buckets.values())
        for bucket, count in buckets.items():
            self._values[at + _FIRST_BUCKET + bucket] += count

    def read(self, slot: int) -> Traffic:
        values: list[float] = self._values[slot * _WIDTH : (slot + 1) * _WIDTH].tolist()  # type: ignore[assignment]  # doubles
        measured_at, work, errors, failures = values[:_FIRST_BUCKET]
        return Traffic(measured_at, work, errors, failures, tuple(values[_FIRST_BUCKET:]))


def percentile(buckets: Sequence[float], part: float) -> float | None:
    """The duration in seconds that `part` (0 to 1) of the requests did not exceed; None without any.

    Within a bucket durations are taken to be spread evenly, as Prometheus's histogram_quantile does.
    """
    total = sum(buckets)
    if not total:
        return None
    rank, below = part * total, 0.0
    for number, count in enumerate(buckets):
        if below + count >= rank and count:
            low = DURATION_BOUNDS[number - 1] if number else 0.0
            high = DURATION_BOUNDS[number] if number < len(DURATION_BOUNDS) else low
            return low + (high - low) * (rank - below) / count
        below += count
    return DURATION_BOUNDS[-1]
