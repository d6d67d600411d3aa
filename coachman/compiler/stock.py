"""Reads back what FastAPI has built for a route, and makes sure that nobody has put something around it.

FastAPI keeps a route's handler as functions within functions. Their code objects say whether they are
FastAPI's own, and their closures hold exactly the values that FastAPI itself uses for each request: these
are compiled, and not the attributes of the route, which somebody may have changed since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from fastapi import routing
from starlette.types import ASGIApp

from coachman.compiler import features
from coachman.compiler.errors import NotCompiledError


def _nested(function: Any, name: str) -> CodeType | None:
    """Returns the code of a function within a function; None if a tool has put another in its place."""
    codes = getattr(getattr(function, "__code__", None), "co_consts", ())
    return next((code for code in codes if isinstance(code, CodeType) and code.co_name == name), None)


def constants(code: CodeType) -> list[Any]:
    """Returns the constants of a code object and of all that are nested in it."""
    found: list[Any] = []
    for value in code.co_consts:
        found.append(value)
        if isinstance(value, CodeType):
            found += constants(value)
    return found


_REQUEST_APP = _nested(routing.request_response, "app")
_REQUEST_HANDLER = _nested(routing.get_request_handler, "app")

# Of what FastAPI raises. Where a tool has replaced the function, no route is compiled.
NOT_AWAITED = next(
    (
        text
        for text in (constants(_REQUEST_APP) if _REQUEST_APP is not None else ())
        if isinstance(text, str) and text.startswith("Response not awaited.")
    ),
    "",
)


@dataclass(frozen=True, slots=True)
class StockRoute:
    """What FastAPI has built for one route."""

    app: ASGIApp  # what request_response() has returned, below a limit of the body
    function: Callable[[Any], Any]  # what get_request_handler() has returned
    options: dict[str, Any]  # what get_request_handler() was given, by name
    max_body_bytes: int | None


def read_route(app: Any) -> StockRoute:
    """Takes the ASGI application of an APIRoute apart. Raises NotCompiledError if it is not FastAPI's own."""
    limit = None
    if type(app) is features.RequestBodyLimitMiddleware:
        limit, app = app.max_body_size, app.app
        if type(app) is not features.BodyLimitExceptionMiddleware:
            raise NotCompiledError("its body limit is not FastAPI's own")
        app = app.app
    function = _closure(app, _REQUEST_APP)["f"]
    return StockRoute(app, function, _closure(function, _REQUEST_HANDLER), limit)


def _closure(function: Any, code: CodeType | None) -> dict[str, Any]:
    if type(function) is not FunctionType or code is None or function.__code__ is not code:
        module = getattr(function, "__module__", type(function).__module__)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        raise NotCompiledError(f"{module}.{name} replaces FastAPI's own handler")
    return {
        name: cell.cell_contents
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
    }
