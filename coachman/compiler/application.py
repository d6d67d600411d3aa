"""Compiles an application: the entry to this package."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, cast

from fastapi.routing import APIRoute, APIRouter
from starlette.routing import Mount, WebSocketRoute

from coachman.compiler import features, known, places, stack, telemetry
from coachman.compiler.dispatch import Dispatcher
from coachman.compiler.entry import Entry
from coachman.compiler.errors import NotCompiledError
from coachman.compiler.function import RouteFunction
from coachman.compiler.inputs import is_field_pure
from coachman.compiler.report import ON_PURPOSE, Report, RouteReport, name_of, names_of
from coachman.compiler.source import Shapes
from coachman.compiler.stock import read_route
from coachman.compiler.walk import Routes, is_own, walk
from coachman.compiler.watch import Watch

if TYPE_CHECKING:
    from fastapi import FastAPI


def compile_app(app: Any, *, leave: Collection[str] = ()) -> Report:
    """Compiles the routes of a FastAPI application, in place, and returns what has come of it.

    `leave`: routes that FastAPI shall answer, each by its path or by the name of its endpoint.

    Call it once, when all routes are declared and before the application serves. An application of
    another kind, or FastAPI's functions in a version or a shape that is not known, are left alone: the
    report says so. Applications that are mounted are compiled too, as far as they are FastAPI's.
    """
    began = time.perf_counter()
    report = Report()
    for prefix, one in _found(app, report):
        try:
            _compile_one(one, prefix, report, leave)
        except Exception as error:  # noqa: BLE001 - whatever is met in an application, it must start
            report.reason = _failure(error)
    is_field_pure.cache_clear()  # it would keep the fields, and what their defaults refer to
    report.seconds = time.perf_counter() - began
    return report


def _found(app: Any, report: Report) -> list[tuple[str, FastAPI]]:
    try:
        found = list(_fastapi_apps(app))
    except Exception as error:  # noqa: BLE001 - an attribute may be a property that raises anything
        report.reason = _failure(error)
        return []
    if not found:
        report.reason = f"{type(app).__module__}.{type(app).__qualname__} is not a FastAPI application"
    return found


def _failure(error: Exception) -> str:
    return f"it could not be compiled: {type(error).__name__}: {error}"


def _fastapi_apps(app: Any) -> Iterator[tuple[str, FastAPI]]:
    """Yields the application, below any ASGI middleware, and those that are mounted in it, once each."""
    waiting: list[tuple[str, Any]] = [("", app)]
    seen: set[int] = set()
    while waiting:
        prefix, one = waiting.pop(0)
        if id(one) in seen or len(seen) > 1000:
            continue
        seen.add(id(one))
        if _is_fastapi(one):
            yield prefix, one
        elif (inner := getattr(one, "app", None)) is not None:
            waiting.append((prefix, inner))
        routes = getattr(one, "routes", None)
        if isinstance(routes, list):  # other frameworks have a method of that name
            waiting += [(prefix + route.path, route.app) for route in routes if type(route) is Mount]


def _is_fastapi(app: Any) -> bool:
    """Asks by name: a tool may have put a class or a function of its own in the place of FastAPI's class."""
    return any(
        kind.__module__ == "fastapi.applications" and kind.__qualname__ == "FastAPI"
        for kind in type(app).__mro__
    )


def _compile_one(app: FastAPI, prefix: str, report: Report, leave: Collection[str]) -> None:
    router = app.router
    try:
        chain = _innermost(router)
        routes = walk(router)
    except NotCompiledError as error:
        report.reason = str(error)
        return
    functions, shapes = known.functions(), Shapes()
    for entry in routes.http:
        if leave and names_of(_describe(entry, prefix)) & set(leave):
            entry.reason = ON_PURPOSE
        else:
            _compile_entry(entry, functions, shapes)
        if entry.reason in functions.reasons() and entry.reason not in report.notices:
            report.notices.append(entry.reason)
    report.routes += [_describe(entry, prefix) for entry in _in_order(routes)]
    if routes.stopped_by:
        report.reason = f"routes after one of the class {routes.stopped_by} are left to FastAPI's router"
    if any(entry.handler for entry in routes.http):
        dispatcher = Dispatcher(router, router.app, routes, Watch(router, routes, functions))
        _install(router, chain, dispatcher)
        if not functions.reason_to_leave([places.LAYERS]):
            stack.install(app, functions.is_unchanged)
            telemetry.install(app)


def _compile_entry(entry: Entry, functions: known.Functions, shapes: Shapes) -> None:
    if not isinstance(entry.route, APIRoute) or not is_own(type(entry.route), APIRoute, "handle"):
        entry.reason = f"{type(entry.route).__module__}.{type(entry.route).__qualname__} decides by itself"
        return
    try:
        entry.app = entry.stock_app()
        if reason := functions.reason_to_leave([places.EVERY_ROUTE]):
            raise NotCompiledError(reason)
        stock = read_route(entry.app)
        function = RouteFunction(stock)
        if reason := functions.reason_to_leave(function.groups()):
            raise NotCompiledError(reason)
        handler = function.build(shapes)
        entry.write_source = function.write_source
        entry.handler = features.wrap_app_with_body_limit(handler, stock.max_body_bytes)
    except NotCompiledError as error:
        entry.reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever is met in an application, it must start
        entry.reason = _failure(error)


def _innermost(router: APIRouter) -> list[Any]:
    """Returns what stands between the router and its own code: nothing, or FastAPI's limit of the body."""
    if type(router).app is not APIRouter.app or type(router).__call__ is not APIRouter.__call__:
        raise NotCompiledError(f"the router is a {type(router).__module__}.{type(router).__qualname__}")
    chain: list[Any] = []
    inner: Any = router.middleware_stack
    while type(inner) in (features.RequestBodyLimitMiddleware, features.BodyLimitExceptionMiddleware):
        chain.append(inner)
        inner = inner.app
    if isinstance(inner, Dispatcher):
        raise NotCompiledError("the application is compiled already")
    if inner != router.app:
        raise NotCompiledError(f"{name_of(inner)} replaces the router's own code")
    return chain


def _install(router: APIRouter, chain: list[Any], dispatcher: Dispatcher) -> None:
    if chain:
        chain[-1].app = dispatcher
    else:
        router.middleware_stack = cast(Any, dispatcher)


def _in_order(routes: Routes) -> list[Entry]:
    sockets = [entry for entry in routes.websocket if isinstance(entry.route, WebSocketRoute)]
    for entry in sockets:
        entry.reason = entry.reason or "a WebSocket"
    return sorted([*routes.http, *sockets], key=lambda entry: entry.position)


def _kind(entry: Entry) -> str:
    if isinstance(entry.route, WebSocketRoute):
        return "websocket"
    return "api" if isinstance(entry.route, APIRoute) else "other"


def _describe(entry: Entry, prefix: str) -> RouteReport:
    return RouteReport(
        methods=tuple(sorted(entry.methods or ())),
        path=prefix + entry.path,
        endpoint=name_of(entry.endpoint),
        is_compiled=entry.handler is not None,
        kind=_kind(entry),
        reason=entry.reason,
        write_source=entry.write_source,
    )
