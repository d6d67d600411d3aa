"""Notices at run time what the compilation could not know: other routes, other functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRouter, _IncludedRouter

from coachman.compiler.entry import Entry
from coachman.compiler.known import Functions
from coachman.compiler.walk import Routes

log = logging.getLogger("coachman.compiler")

_EVERYWHERE = 1 << 60
_REQUESTS_BETWEEN_CHECKS = 128


class WatchedRoutes(list[Any]):
    """A router's list of routes, which tells listeners before it changes."""

    def __init__(self, routes: list[Any]) -> None:
        super().__init__(routes)
        self.listeners: list[Callable[[bool], None]] = []

    def tell(self, is_added: bool) -> None:
        """Tells of a change. `is_added`: it only adds at the end, so what was there keeps its order."""
        for listener in self.listeners:
            listener(is_added)


def _telling(name: str, *, is_added: bool) -> Callable[..., Any]:
    original = getattr(list, name)

    def method(self: WatchedRoutes, *arguments: Any, **options: Any) -> Any:
        self.tell(is_added)
        return original(self, *arguments, **options)

    method.__name__ = name
    return method


for _name in ("append", "extend", "__iadd__"):
    setattr(WatchedRoutes, _name, _telling(_name, is_added=True))
for _name in (
    "__delitem__",
    "__imul__",
    "__setitem__",
    "clear",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
):
    setattr(WatchedRoutes, _name, _telling(_name, is_added=False))


class Watch:
    """Says for each request whether a compiled route is still what FastAPI would call.

    A route that is added at the end of a router changes nothing for the routes before it: they stay
    compiled, and FastAPI's router finds the new one. After any other change FastAPI answers all routes
    from there on.
    """

    def __init__(self, router: APIRouter, routes: Routes, functions: Functions) -> None:
        """`functions`: those that were compiled for."""
        self._router, self._functions = router, functions
        self._up_to = _EVERYWHERE  # routes beyond this position are left to FastAPI
        self._requests = 0
        self._watched: list[tuple[APIRouter, WatchedRoutes]] = []
        self._add(router, 0, _EVERYWHERE)
        for first, last, included in routes.routers:
            self._add(included, first, last)
        self._routes = self._watched[0][1]

    def _add(self, router: APIRouter, first: int, last: int) -> None:
        def listen(is_added: bool) -> None:
            self._up_to = min(self._up_to, last if is_added else first)

        if not isinstance(router.routes, WatchedRoutes):
            router.routes = WatchedRoutes(router.routes)
        router.routes.listeners.append(listen)
        self._watched.append((router, router.routes))

    def allows(self, entry: Entry) -> bool:
        """Whether the compiled function may answer."""
        if entry.position > self._up_to or self._router.routes is not self._routes:
            return False
        if self._requests % _REQUESTS_BETWEEN_CHECKS == 0 and not self._is_unchanged():
            self._give_up()
            return False
        self._requests += 1
        return entry.stock_app() is entry.app

    def _give_up(self) -> None:
        """FastAPI answers everything from now on, with handlers that it makes anew.

        FastAPI makes the handlers of included routers at the first request. They have been made for the
        compilation, and whoever has replaced a function since relies on their being made now.
        """
        why = self._functions.replaced() or "the list of a router's routes is another one"
        log.warning("All routes are left to FastAPI from now on: %s", why)
        self._up_to = -1
        for route in self._router.routes:
            if isinstance(route, _IncludedRouter):
                route._effective_candidates_version = None

    def _is_unchanged(self) -> bool:
        return self._functions.is_unchanged() and all(
            router.routes is routes for router, routes in self._watched
        )
