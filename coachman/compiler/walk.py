"""Lists the routes of an application in the order in which FastAPI's router tries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getattr_static
from typing import Any

from fastapi.routing import (
    APIRoute,
    APIRouter,
    APIWebSocketRoute,
    _EffectiveRouteContext,
    _IncludedRouter,
)
from starlette.routing import BaseRoute, Host, Match, Mount, Route, WebSocketRoute
from starlette.types import Scope

from coachman.compiler.entry import Entry

Matches = Callable[[Scope], tuple[Match, Scope]]


@dataclass(slots=True)
class Routes:
    """The routes that a table can hold, and what has to be asked on the way."""

    http: list[Entry] = field(default_factory=list)
    websocket: list[Entry] = field(default_factory=list)
    hosts: list[tuple[int, Matches]] = field(default_factory=list)  # match by a header, not by the path
    routers: list[tuple[int, int, APIRouter]] = field(default_factory=list)  # first, last position
    stopped_by: str = ""  # the class of the route after which FastAPI's router has to decide alone


def walk(router: APIRouter) -> Routes:
    """Returns the routes of the router and of the routers that it includes."""
    return _Walk().top(router)


class _StopError(Exception):
    """A route decides by code that is not known."""


def is_own(kind: type, base: type, name: str) -> bool:
    """Whether a class has a method from its base. A tool's wrapper would be another object each time."""
    return getattr_static(kind, name) is getattr_static(base, name)


class _Walk:
    def __init__(self) -> None:
        self._routes = Routes()
        self._position = 0
        self._after_included = False

    def top(self, router: APIRouter) -> Routes:
        try:
            for route in router.routes:
                if type(route) is _IncludedRouter:
                    self._after_included = True
                    self._included((route,))
                else:
                    self._add(route, route, None, ())
        except _StopError as error:
            self._routes.stopped_by = str(error)
        return self._routes

    def _included(self, chain: tuple[_IncludedRouter, ...]) -> None:
        router = chain[-1].original_router
        for name in ("matches", "handle"):
            if not is_own(type(router), APIRouter, name):
                raise _StopError(f"{type(router).__module__}.{type(router).__qualname__}")
        first = self._position
        for candidate in chain[-1].effective_candidates():
            if isinstance(candidate, _IncludedRouter):
                self._included((*chain, candidate))
            else:
                route = candidate.starlette_route or candidate.original_route
                self._add(route, candidate.original_route, candidate, chain)
        self._routes.routers.append((first, self._position, router))

    def _add(
        self,
        route: BaseRoute,
        original: BaseRoute,
        context: _EffectiveRouteContext | None,
        chain: tuple[_IncludedRouter, ...],
    ) -> None:
        self._position += 1
        kind = type(route)
        if isinstance(route, APIRoute) and is_own(kind, APIRoute, "matches"):
            self._keep(self._routes.http, context or route, original, context, chain)
        elif kind is Route:
            self._keep(self._routes.http, route, original, context, chain)
        elif kind is Mount:
            self._keep(self._routes.http, route, original, context, chain)
            self._keep(self._routes.websocket, route, original, context, chain)
        elif kind is Host:
            self._routes.hosts.append((self._position, route.matches))
        elif kind in (WebSocketRoute, APIWebSocketRoute):
            self._keep(self._routes.websocket, route, original, context, chain)
        else:
            raise _StopError(f"{kind.__module__}.{kind.__qualname__}")

    def _keep(
        self,
        entries: list[Entry],
        matched: Any,
        original: BaseRoute,
        context: _EffectiveRouteContext | None,
        chain: tuple[_IncludedRouter, ...],
    ) -> None:
        methods = getattr(matched, "methods", None)
        entries.append(
            Entry(
                position=self._position,
                route=original,
                path=matched.path,
                path_format=matched.path_format,
                path_regex=matched.path_regex,
                convertors=matched.param_convertors,
                methods=frozenset(methods) if methods else None,
                context=context,
                included_by=chain,
                follows_included=self._after_included,
                endpoint=getattr(matched, "endpoint", None),
            )
        )
