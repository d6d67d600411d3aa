"""Stands before FastAPI's router: answers what is compiled, and hands on everything else, untouched."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from fastapi.routing import (
    _FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY,
    _FASTAPI_INCLUDED_ROUTER_KEY,
    _FASTAPI_SCOPE_KEY,
    APIRouter,
)
from starlette._utils import get_route_path
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from coachman.compiler.counts import COUNTS
from coachman.compiler.entry import Entry
from coachman.compiler.features import apply_form_limits, form_limits_of
from coachman.compiler.tree import Tree
from coachman.compiler.walk import Routes
from coachman.compiler.watch import Watch

TELEMETRY = "fastapi.telemetry"


class Dispatcher:
    """The ASGI application that takes the place of a router's own."""

    def __init__(self, router: APIRouter, inner: ASGIApp, routes: Routes, watch: Watch) -> None:
        """`inner`: what the router would have called."""
        self._router, self._inner, self._watch = router, inner, watch
        self._tree = Tree(routes.http)
        self._hosts = routes.hosts
        self._form_limits = form_limits_of(router)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Runs no coroutine of its own: the caller awaits the route's function, or FastAPI's router."""
        if scope["type"] != "http":
            return self._inner(scope, receive, send)
        entry = None if scope.get(TELEMETRY) is not None else self._find(scope)
        if entry is None or entry.handler is None:
            COUNTS.left += 1
            return self._inner(scope, receive, send)
        return entry.handler(scope, receive, send)

    def _find(self, scope: Scope) -> Entry | None:
        """Returns the route that FastAPI would choose, with the scope prepared as FastAPI prepares it."""
        path = get_route_path(scope)
        exact = self._tree.exact.get(path)
        if exact is not None:
            entry = exact[0].get(scope["method"], exact[1])
            if entry is None or entry.handler is None:
                return None
            if not entry.convertors:
                if not self._may_answer(entry, scope):
                    return None
                self._prepare(entry, scope, {})
                return entry
        if path[:1] != "/" or "\n" in path:  # "$" in a regex matches before a last line feed as well
            return None
        method = scope["method"]
        for entry in self._tree.candidates(path):
            if entry.methods is not None and method not in entry.methods:
                continue
            match = entry.path_regex.match(path)
            if match is None:
                continue
            if entry.handler is None or not self._may_answer(entry, scope):
                return None
            convertors = entry.convertors
            self._prepare(
                entry,
                scope,
                {name: convertors[name].convert(text) for name, text in match.groupdict().items()},
            )
            return entry
        return None

    def _may_answer(self, entry: Entry, scope: Scope) -> bool:
        """Whether nothing has changed since the compilation, and no host before it takes the request."""
        if not self._watch.allows(entry):
            return False
        for position, matches in self._hosts:
            if position > entry.position:
                break
            if matches(scope)[0] is Match.FULL:
                return False
        return True

    def _prepare(self, entry: Entry, scope: Scope, parameters: dict[str, Any]) -> None:
        """Writes what FastAPI's routers write on their way to the route."""
        if self._form_limits:
            apply_form_limits(scope, self._form_limits)
        if "router" not in scope:
            scope["router"] = self._router
        if entry.follows_included:
            fastapi_scope = scope.setdefault(_FASTAPI_SCOPE_KEY, {})
            if entry.context is not None:
                for included in entry.included_by:
                    if limits := form_limits_of(included.include_context):
                        apply_form_limits(scope, limits)
                fastapi_scope[_FASTAPI_INCLUDED_ROUTER_KEY] = entry.included_by[-1]
                fastapi_scope[_FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY] = entry.context
        scope["endpoint"] = entry.endpoint
        before = scope.get("path_params")
        scope["path_params"] = {**before, **parameters} if before else parameters
        scope["route"] = entry.route
