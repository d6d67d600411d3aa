"""Counts requests by route, method and status, and how long they took. Runs in the worker."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coachman.metrics.counters import Metrics

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"
MOST_ROUTES = 500

Key = tuple[str, str, int]  # route, method, status
Tell = Callable[[int, Mapping[int, int]], None]


class RequestCounts:
    """As many series as routes and statuses, however many paths and methods clients make up.

    Requests are collected, and added to the metrics ten times a second: to change three values of a
    multi-process metric takes twenty times as long as to remember that it is to be done.
    """

    def __init__(self, metrics: Metrics, tell: Tell | None = None) -> None:
        """`tell` is called with each status and how many requests had it, by bucket of their durations."""
        self._metrics, self._tell = metrics, tell
        self._pending: defaultdict[Key, list[float]] = defaultdict(list)
        self._series: dict[Key, tuple[Any, Any]] = {}
        self._routes: set[str] = set()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        self._pending[route, method, status].append(seconds)

    def flush(self) -> None:
        pending, self._pending = self._pending, defaultdict(list)
        for key, durations in pending.items():
            requests, seconds = self._series.get(key) or self._open(*key)
            requests.inc(len(durations))
            buckets = observe_all(seconds, durations)
            if self._tell is not None:
                self._tell(key[2], buckets)

    def _open(self, route: str, method: str, status: int) -> tuple[Any, Any]:
        known = self._bounded(route), method if method in METHODS else OTHER, status
        series = (
            self._metrics.requests.labels(known[0], known[1], str(status)),
            self._metrics.seconds.labels(known[0], known[1]),
        )
        if known == (route, method, status):  # what clients make up is not cached
            self._series[known] = series
        return series

    def _bounded(self, route: str) -> str:
        if route not in self._routes and len(self._routes) >= MOST_ROUTES:
            return OTHER
        self._routes.add(route)
        return route


def observe_all(histogram: Any, amounts: Sequence[float]) -> Counter[int]:
    """Does what Histogram.observe does for each, but changes each value once. Returns how many by bucket."""
    bounds = histogram._upper_bounds
    buckets = Counter(bisect_left(bounds, amount) for amount in amounts)
    for bucket, count in buckets.items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(amounts))
    return buckets
