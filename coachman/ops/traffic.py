"""What the metrics say of routes and limits: counts since the start of the service, for the status page."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from coachman.ops.about import About
from coachman.state.traffic_table import DURATION_BOUNDS

SECONDS = 5.0  # between two readings of all files: some milliseconds, once for all pages that a worker feeds
MOST_ROUTES = 100
_REQUESTS, _DURATION = "coachman_http_requests_total", "coachman_http_request_duration_seconds_bucket"
_LIMITS, _ANSWERED = "coachman_limits_reached_total", "coachman_application_requests_total"


class Files(Protocol):
    def files(self) -> list[str]: ...


class _Route(NamedTuple):
    """Numbers by class of the status, and by bucket of the duration, its bound included."""

    statuses: dict[int, float]
    below: dict[float, float]


class TrafficCounts:
    """Runs in a thread of the worker that feeds pages."""

    def __init__(self, store: Files, about: About) -> None:
        self._store, self._about = store, about
        self._read_at = -SECONDS
        self._latest: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """`read_at`, `routes`, `limits` and `answered`, as they were no longer ago than SECONDS."""
        now = time.monotonic()
        if now - self._read_at >= SECONDS:
            self._read_at = now
            merged: Iterable[Metric] = MultiProcessCollector.merge(self._store.files())  # type: ignore[no-untyped-call]
            self._latest = summary([sample for metric in merged for sample in metric.samples], self._about)
        return self._latest


def summary(samples: list[Sample], about: About) -> dict[str, Any]:
    """What the page needs of these samples of /metrics."""
    routes: dict[tuple[str, str], _Route] = {}
    for sample in samples:
        if sample.name in (_REQUESTS, _DURATION):
            key = sample.labels["route"], sample.labels["method"]
            route = routes.setdefault(key, _Route({}, {}))
            if sample.name == _REQUESTS:
                status = int(sample.labels["status"]) // 100
                route.statuses[status] = route.statuses.get(status, 0) + sample.value
            else:
                route.below[float(sample.labels["le"])] = sample.value
    rows = sorted(_rows(routes, about), key=lambda row: row["requests"], reverse=True)
    return {
        "read_at": round(time.time(), 3),
        "bounds": DURATION_BOUNDS,
        "routes": rows[:MOST_ROUTES],
        "routes_left_out": max(0, len(rows) - MOST_ROUTES),
        "limits": _by_label(samples, _LIMITS, "limit"),
        "answered": _by_label(samples, _ANSWERED, "by"),
    }


def _rows(routes: dict[tuple[str, str], _Route], about: About) -> Iterator[dict[str, Any]]:
    for (path, method), route in routes.items():
        reason = None if about.left is None else about.left.get((method, path))
        below = [route.below[bound] for bound in sorted(route.below)]
        yield {
            "route": path,
            "method": method,
            "requests": round(sum(route.statuses.values())),
            "errors": round(route.statuses.get(4, 0)),
            "failures": round(route.statuses.get(5, 0)),
            "buckets": [round(n - before) for n, before in zip(below, [0.0, *below], strict=False)],
            "compiled": None if reason is None else not reason,
            "reason": reason or "",
        }


def _by_label(samples: list[Sample], name: str, label: str) -> dict[str, int]:
    return {sample.labels[label]: round(sample.value) for sample in samples if sample.name == name}
