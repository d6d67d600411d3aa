"""One route of the application, as the table of routes holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from re import Pattern
from typing import Any

from fastapi.routing import _EffectiveRouteContext, _IncludedRouter
from starlette.convertors import Convertor
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(eq=False, slots=True)
class Entry:
    """A route in its place. Without a handler, FastAPI answers whatever matches it."""

    position: int  # in the order of declaration, over all included routers
    route: BaseRoute
    path: str
    path_format: str
    path_regex: Pattern[str]
    convertors: Mapping[str, Convertor[Any]]
    methods: frozenset[str] | None  # None: any method matches
    context: _EffectiveRouteContext | None = None  # for a route of an included router
    included_by: tuple[_IncludedRouter, ...] = ()  # from the outermost router to the innermost
    follows_included: bool = False  # an included router stands before it, and leaves a mark in the scope
    endpoint: Any = None
    handler: Handler | None = None
    reason: str = ""  # why there is no handler
    write_source: Callable[[], str] | None = None  # of the compiled function
    app: Any = None  # the ASGI application that FastAPI had for the route when it was compiled

    def stock_app(self) -> Any:
        """Returns the ASGI application that FastAPI would call for this route now."""
        holder = self.route if self.context is None else self.context
        return getattr(holder, "app", None)
