"""Counts requests by route, method and status, and how long they took. Runs in the worker."""

from typing import Any

from coachman.ops.metrics import Metrics

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"
MOST_ROUTES = 500


class RequestCounts:
    """As many series as routes and statuses, however many paths and methods clients make up."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._routes: set[str] = set()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        series = self._series.get((route, method, status))
        if series is None:
            series = self._open(self._bounded(route), method if method in METHODS else OTHER, status)
        requests, durations = series
        requests.inc()
        durations.observe(seconds)

    def _open(self, route: str, method: str, status: int) -> tuple[Any, Any]:
        series = (
            self._metrics.requests.labels(route, method, str(status)),
            self._metrics.seconds.labels(route, method),
        )
        self._series[route, method, status] = series
        return series

    def _bounded(self, route: str) -> str:
        if route not in self._routes and len(self._routes) >= MOST_ROUTES:
            return OTHER
        self._routes.add(route)
        return route
