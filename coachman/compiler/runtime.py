"""What compiled functions call besides the application's own code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import anyio.from_thread
import anyio.to_thread
from fastapi._compat import Undefined
from fastapi._compat.v2 import _regenerate_error_with_loc
from fastapi.dependencies.models import Dependant, _get_cache_key
from fastapi.dependencies.utils import solve_dependencies
from fastapi.exceptions import (
    EndpointContext,
    FastAPIError,
    RequestValidationError,
    ResponseValidationError,
)
from fastapi.routing import _extract_endpoint_context
from pydantic import ValidationError
from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from coachman.compiler.failures import raise_within
from coachman.compiler.stock import NOT_AWAITED


class Sender:
    """Sends for a Response object, and remembers whether its head has gone."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
        await self._send(message)


async def answer_failure(
    error: Exception, request: Request, receive: Receive, send: Send, *, is_started: bool
) -> None:
    """Lets Starlette's own code find the handler of an exception that a compiled function has raised."""
    handle = partial(wrap_app_handling_exceptions, conn=request)
    await raise_within(handle, error, request.scope, receive, send, is_started=is_started)


async def answer_by_fastapi(
    function: Callable[[Request], Awaitable[Response]],
    request: Request,
    receive: Receive,
    send: Send,
    error: Exception | None,
) -> None:
    """Lets FastAPI's own handler answer a request whose body has been read already.

    The request keeps its body, or its form, so that nothing is read twice. `error`: reading has failed
    with it; FastAPI meets it again where it reads. This is what fastapi.routing.request_response() does,
    with a request that is there.
    """
    if error is not None:
        _fail_again(request, error)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response_awaited = False
        async with AsyncExitStack() as request_stack:
            scope["fastapi_inner_astack"] = request_stack
            async with AsyncExitStack() as function_stack:
                scope["fastapi_function_astack"] = function_stack
                response = await function(request)
            await response(scope, receive, send)
            response_awaited = True
        if not response_awaited:
            raise_not_awaited()

    await wrap_app_handling_exceptions(app, request)(request.scope, receive, send)


def _fail_again(request: Request, error: Exception) -> None:
    receive = request._receive

    async def fail() -> NoReturn:
        request._receive = receive
        raise error

    request._receive = fail
    request._stream_consumed = False


def has_callbacks(stack: AsyncExitStack) -> bool:
    """Whether anything has been pushed: to leave an empty stack costs two microseconds."""
    return bool(stack._exit_callbacks)  # type: ignore[attr-defined]


def raise_not_awaited() -> NoReturn:
    """A dependency with `yield` has kept an exception to itself, so that there is no answer."""
    raise FastAPIError(NOT_AWAITED)


def raise_invalid_response(
    error: ValidationError | list[Any],
    content: Any,
    call: Callable[..., Any],
    path: str | None,
    scope: Scope,
) -> NoReturn:
    """The endpoint's result does not fit the response model: raises what FastAPI raises."""
    if isinstance(error, ValidationError):
        errors: list[Any] = _regenerate_error_with_loc(
            errors=error.errors(include_url=False), loc_prefix=("response",)
        )
    else:
        errors = error
    raise ResponseValidationError(errors=errors, body=content, endpoint_ctx=_context(call, path, scope))


def raise_invalid_request(
    errors: list[Any], body: Any, call: Callable[..., Any], path: str | None, scope: Scope
) -> NoReturn:
    """The application's own code has refused an input, after the dependencies: raises what FastAPI raises."""
    raise RequestValidationError(
        errors, body=None if body is Undefined else body, endpoint_ctx=_context(call, path, scope)
    )


def _context(call: Callable[..., Any], path: str | None, scope: Scope) -> EndpointContext:
    context: EndpointContext = _extract_endpoint_context(call)
    if path:
        context["path"] = f"{scope['method']} {scope.get('root_path', '').rstrip('/')}{path}"
    return context


@dataclass(frozen=True, slots=True)
class Rest:
    """Solves what is left of a route's dependencies once one of them has overridden others."""

    dependant: Dependant
    calls: tuple[Dependant, ...]  # in the order in which they are called
    provider: Any
    embed_body_fields: bool

    async def solve(
        self, request: Request, body: Any, tasks: Any, response: Response | None, results: tuple[Any, ...]
    ) -> dict[str, Any]:
        """Lets FastAPI solve all but the first of the calls, whose `results` are known.

        Returns the arguments of the endpoint. What the override needs and the route had not, exit stacks
        and background tasks, ends with the request.
        """
        ends = request.scope["fastapi_middleware_astack"]
        if "fastapi_inner_astack" not in request.scope:
            for name in ("fastapi_inner_astack", "fastapi_function_astack"):
                request.scope[name] = await ends.enter_async_context(AsyncExitStack())
        keys = (_get_cache_key(dependant=call) for call in self.calls)
        result = await solve_dependencies(
            request=request,
            dependant=self.dependant,
            body=body,
            background_tasks=tasks,
            response=response,
            dependency_overrides_provider=self.provider,
            dependency_cache=dict(zip(keys, results, strict=False)),
            async_exit_stack=request.scope["fastapi_inner_astack"],
            embed_body_fields=self.embed_body_fields,
        )
        if result.errors:
            assert self.dependant.call is not None
            raise_invalid_request(
                result.errors, body, self.dependant.call, self.dependant.path, request.scope
            )
        if tasks is None and result.background_tasks is not None:
            ends.push_async_callback(result.background_tasks)
        return result.values


def new_solved_response() -> Response:
    """Returns the response on which dependencies may set headers, cookies and a status.

    FastAPI makes one with a length and takes that out again, which takes five times as long.
    """
    response = Response.__new__(Response)
    response.status_code = None  # type: ignore[assignment]
    response.background, response.body, response.raw_headers = None, b"", []
    return response


def response_arguments(fixed_status: int | None, solved_status: int | None, tasks: Any) -> dict[str, Any]:
    """Returns the arguments of the response's class, as fastapi.routing._build_response_args() does."""
    arguments: dict[str, Any] = {"background": tasks}
    status = solved_status or fixed_status or solved_status
    if status is not None:
        arguments["status_code"] = status
    return arguments


async def run_hop(function: Callable[[Callable[[], bool]], Any]) -> Any:
    """Runs several synchronous calls that follow one another in one thread, and in one wait for it.

    `function` asks between two calls whether the request has been cancelled meanwhile: FastAPI, which
    waits for each of them, would not make the next one then.
    """
    is_cancelled = False
    try:
        return await anyio.to_thread.run_sync(function, lambda: is_cancelled)
    except BaseException:
        is_cancelled = True
        raise


def stop_if_cancelled(is_cancelled: Callable[[], bool]) -> None:
    """Runs in the thread. Raises what ends a cancelled request."""
    anyio.from_thread.check_cancelled()
    if is_cancelled():
        raise asyncio.CancelledError
