"""Runs the middleware that every FastAPI application has as one, around the application's own.

FastAPI puts three layers around the application's own middleware and two inside it. Each wraps a coroutine
around the request, three wrap `send`; all of them act only when something is raised. The layers stay where
they are, for those who look at them, and answer every failure themselves: here is only the way without one.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry._asgi import ExceptionTelemetryMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coachman.compiler import features
from coachman.compiler.failures import raise_within
from coachman.compiler.runtime import has_callbacks

_OUTER_LAYERS = tuple(
    filter(None, (ServerErrorMiddleware, ExceptionTelemetryMiddleware, features.AppBodyLimitMiddleware))
)


def install(app: FastAPI, is_known: Callable[[], bool]) -> None:
    """Makes the application build its layers so. `is_known`: whether they are those that are known."""
    build = app.build_middleware_stack

    def build_and_join() -> ASGIApp:
        built = build()
        return _join(built, app) if is_known() else built

    app.build_middleware_stack = build_and_join  # type: ignore[method-assign]


def _join(top: Any, app: FastAPI) -> ASGIApp:
    """Returns the layers with quicker classes, if they are what FastAPI builds."""
    first = top
    for kind in _OUTER_LAYERS:
        if type(first) is not kind:
            return top  # type: ignore[no-any-return]
        first = first.app
    inner = first
    while type(inner) is not ExceptionMiddleware:
        inner = getattr(inner, "app", None)
        if inner is None:
            return top  # type: ignore[no-any-return]
    files = inner.app
    if type(files) is AsyncExitStackMiddleware and files.app is app.router:
        inner.__class__ = _JoinedInner
        if first is inner:
            top.__class__, top.inner, top.below = _JoinedAll, inner, top.app
    return top  # type: ignore[no-any-return]


class _JoinedInner(ExceptionMiddleware):
    """The layers inside the application's own middleware: handlers of exceptions, and files of forms."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http":
            return super().__call__(scope, receive, send)
        return _answer(self, self.run, scope, receive, send)

    def run(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Runs the router with what these layers put into the scope."""
        scope["starlette.exception_handlers"] = (self._exception_handlers, self._status_handlers)
        return _run_router(self.app.app.middleware_stack, scope, receive, send)  # type: ignore[attr-defined]


class _JoinedAll(ServerErrorMiddleware):
    """All layers, where the application has no middleware of its own."""

    inner: _JoinedInner
    below: ASGIApp  # what is under this layer as FastAPI builds them; a tool may put something between

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http" or self.app is not self.below or features.MAX_BODY_SIZE_SCOPE_KEY in scope:
            return super().__call__(scope, receive, send)
        return _answer(self, self.inner.run, scope, receive, send)


async def _answer(layer: Any, run: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    is_started = False

    async def noticing(message: Message) -> None:
        nonlocal is_started
        if message["type"] == "http.response.start":
            is_started = True
        await send(message)

    try:
        await run(scope, receive, noticing)
    except Exception as error:  # noqa: BLE001 - the layers' own code sorts it out
        await raise_within(partial(_stock, layer), error, scope, receive, send, is_started=is_started)


async def _run_router(router: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    files = scope["fastapi_middleware_astack"] = AsyncExitStack()
    try:
        await router(scope, receive, send)
    except BaseException as error:
        if not await files.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        if has_callbacks(files):
            await files.__aexit__(None, None, None)


def _stock(layer: Any, app: ASGIApp) -> ASGIApp:
    """Returns the layer and those below it, with FastAPI's and Starlette's own classes, around `app`."""
    plain: Any = copy.copy(layer)
    if isinstance(layer, ServerErrorMiddleware):
        plain.__class__ = ServerErrorMiddleware
        plain.app = ExceptionTelemetryMiddleware(_stock(plain.inner, app))
    else:
        plain.__class__ = ExceptionMiddleware
        plain.app = app
    return plain  # type: ignore[no-any-return]
