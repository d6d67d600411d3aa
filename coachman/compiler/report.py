"""What a compilation has come to, for people to read and for other programs to count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ON_PURPOSE = "it is named as one to leave"


@dataclass(frozen=True, slots=True)
class RouteReport:
    """One route of the application."""

    methods: tuple[str, ...]  # sorted; none: any method, or a WebSocket
    path: str
    endpoint: str  # module.name
    is_compiled: bool
    kind: str = "api"  # api: FastAPI's own kind; websocket; other
    reason: str = ""  # why FastAPI answers it
    write_source: Callable[[], str] | None = None

    @property
    def source(self) -> str:
        """The source of the compiled function, written anew: nobody needs it while the application serves."""
        return self.write_source() if self.write_source is not None else ""


@dataclass(slots=True)
class Report:
    """All routes of an application, in the order of declaration."""

    routes: list[RouteReport] = field(default_factory=list)
    reason: str = ""  # why nothing, or nothing from a route on, is compiled
    notices: list[str] = field(default_factory=list)  # FastAPI's functions that are not known or replaced
    seconds: float = 0.0  # that the compilation took

    @property
    def compiled(self) -> int:
        """The number of routes that are compiled."""
        return sum(route.is_compiled for route in self.routes)

    def summary(self) -> str:
        """Returns the numbers in one sentence."""
        routes = [route for route in self.routes if route.kind == "api"]
        if not routes:
            return "None of the routes is FastAPI's own, so none is compiled"
        return f"{self.compiled} of {len(routes)} routes of FastAPI's are compiled"

    def why_incomplete(self) -> str:
        """Returns why a route of FastAPI's is not compiled; empty if all are that are not left on purpose."""
        if self.reason:
            return self.reason
        for route in self.routes:
            if route.kind == "api" and not route.is_compiled and route.reason != ON_PURPOSE:
                return f"{' '.join(route.methods)} {route.path} is left to FastAPI: {route.reason}"
        return "" if self.routes else "there is no route to compile"

    def reasons(self) -> dict[str, list[RouteReport]]:
        """Returns the routes that are left to FastAPI, by the reason."""
        found: dict[str, list[RouteReport]] = {}
        for route in self.routes:
            if not route.is_compiled:
                found.setdefault(route.reason, []).append(route)
        return found

    def source_of(self, name: str) -> str | None:
        """Returns the source of the compiled function for a path, or for an endpoint's name.

        `name`: such as `/items/{item_id}`, `GET /items/{item_id}`, `read_item` or `app.items.read_item`.
        """
        for route in self.routes:
            if route.write_source and name in names_of(route):
                return route.source
        return None


def names_of(route: RouteReport) -> set[str]:
    """Returns the names by which a route can be asked for."""
    paths = {route.path, *(f"{method} {route.path}" for method in route.methods)}
    return paths | {route.endpoint, route.endpoint.rpartition(".")[2]}


def name_of(endpoint: Any) -> str:
    """Returns where an endpoint comes from, such as `app.items.read_item`."""
    module = getattr(endpoint, "__module__", type(endpoint).__module__)
    name = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
    return f"{module}.{name}"
