"""What is said of each request that the application answers. Runs in the worker."""

import asyncio
import time
from typing import Any

from coachman.asgi import Application, Message, Receive, Send
from coachman.ops.metrics import Metrics

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
UNMATCHED, OTHER = "unmatched", "other"
MOST_ROUTES = 500
CLIENT_GONE = 499  # as nginx has it


class Observer:
    """ASGI: counts requests by route, method and status, and how long they took.

    A request counts just before the last piece of its answer is sent: whoever has an answer finds it counted.
    """

    def __init__(self, application: Application, metrics: Metrics) -> None:
        self._application, self._metrics = application, metrics
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._routes: set[str] = set()
        self.busy_seconds = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        begun, root, status = time.perf_counter(), scope["root_path"], 0
        is_counted = False

        async def observed(message: Message) -> None:
            nonlocal status, is_counted
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body") and not is_counted:
                is_counted = True
                self._count(scope, root, status, time.perf_counter() - begun)
            await send(message)

        try:
            await self._application(scope, receive, observed)
        except asyncio.CancelledError:
            status = status or CLIENT_GONE
            raise
        except Exception:
            status = status or 500  # which Uvicorn answers then
            raise
        finally:
            if not is_counted:
                self._count(scope, root, status or CLIENT_GONE, time.perf_counter() - begun)

    def _count(self, scope: Message, root: str, status: int, seconds: float) -> None:
        self.busy_seconds += seconds
        key = (self._bounded(route_of(scope, root)), scope["method"], status)
        series = self._series.get(key)
        if series is None:
            series = self._open(*key)
        requests, durations = series
        requests.inc()
        durations.observe(seconds)

    def _open(self, route: str, method: str, status: int) -> tuple[Any, Any]:
        label = method if method in METHODS else OTHER
        series = (
            self._metrics.requests.labels(route, label, str(status)),
            self._metrics.seconds.labels(route, label),
        )
        if method in METHODS:  # a client may make up as many others as it likes
            self._series[route, method, status] = series
        return series

    def _bounded(self, route: str) -> str:
        if route in self._routes:
            return route
        if len(self._routes) >= MOST_ROUTES:
            return OTHER
        self._routes.add(route)
        return route


def route_of(scope: Message, root: str = "") -> str:
    """The template that matched, such as /items/{item_id}. `root` is the server's own root path."""
    mounted = scope.get("root_path", "")[len(root) :]
    context = (scope.get("fastapi") or {}).get("effective_route_context")  # knows include_router's prefix
    matched = context or scope.get("route")
    if matched is not None and hasattr(matched, "path") and not hasattr(matched, "routes"):
        return f"{mounted}{matched.path}"
    if "endpoint" not in scope:
        return UNMATCHED
    if "app_root_path" in scope:  # a mount, whose application says nothing of routes
        return f"{mounted}/{{path}}"
    return UNMATCHED if scope.get("path_params") else str(scope["path"])
