"""The raw requests of one generator run, and what is read from them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype([("due", "f8"), ("start", "f8"), ("end", "f8"), ("name", "u2"), ("kind", "u2")])
BUCKET = math.log(1.01)  # a bucket's ends are 1 % apart
LEAST_REQUESTS = {50: 1, 95: 100, 99: 1000, 99.9: 10_000}  # fewer say nothing about that percentile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Times are seconds on the machine's monotonic clock."""

    rows: NDArray[np.void]
    names: list[str]
    kinds: list[str]

    @classmethod
    def read(cls, path: Path, names: list[str], kinds: list[str]) -> Self:
        return cls(np.fromfile(path, dtype=ROW), names, kinds)

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, begin: float, end: float, *, by: str) -> Self:
        """Returns the requests that fell due (open loop) or ended (closed loop) in the window."""
        times = self.rows[by]
        return type(self)(self.rows[(times >= begin) & (times < end)], self.names, self.kinds)

    @property
    def failures(self) -> Counter[str]:
        found, counts = np.unique(self.rows["kind"], return_counts=True)
        return Counter({self.kinds[kind]: int(n) for kind, n in zip(found, counts, strict=True) if kind})

    @property
    def answered(self) -> NDArray[np.void]:
        answered: NDArray[np.void] = self.rows[self.rows["kind"] == 0]
        return answered

    def by_route(self) -> Iterator[tuple[str, Self]]:
        """Yields each name of a request with its requests, those with the most first."""
        found, counts = np.unique(self.rows["name"], return_counts=True)
        for name in found[np.argsort(-counts, kind="stable")]:
            yield self.names[name], type(self)(self.rows[self.rows["name"] == name], self.names, self.kinds)

    def latency_ms(self) -> Floats:
        """Returns the latencies of answered requests, from the moment that they fell due."""
        latency: Floats = (self.answered["end"] - self.answered["due"]) * 1000
        return latency

    def service_ms(self) -> Floats:
        """Returns the latencies of answered requests, from the moment that they were sent."""
        service: Floats = (self.answered["end"] - self.answered["start"]) * 1000
        return service


def percentile(values: Floats, share: float) -> float | None:
    """Returns the percentile; None where there are too few values for it."""
    if len(values) < LEAST_REQUESTS[share]:
        return None
    return float(np.percentile(values, share))


def buckets_of(values: Floats) -> dict[int, int]:
    """Returns counts by bucket, which can be added to those of other windows: percentiles cannot."""
    found, counts = np.unique(np.floor(np.log(values[values > 0]) / BUCKET), return_counts=True)
    return {int(bucket): int(count) for bucket, count in zip(found, counts, strict=True)}


def percentile_of(buckets: Mapping[int, int], share: float) -> float | None:
    """Returns the percentile to half a per cent; None where there are too few values for it."""
    total = sum(buckets.values())
    if total < LEAST_REQUESTS[share]:
        return None
    rank, seen = share / 100 * total, 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            break
    return math.exp((bucket + 0.5) * BUCKET)


def read_lag_ms(path: Path, begin: float, end: float) -> float | None:
    """The 99th percentile of how late the generator's loop was, in the window."""
    both: Floats = np.fromfile(path, dtype="f8")
    times, overshoots = np.split(both, 2)
    inside: Any = overshoots[(times >= begin) & (times < end)]
    return float(np.percentile(inside, 99) * 1000) if len(inside) else None
