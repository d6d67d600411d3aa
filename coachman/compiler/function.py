"""Writes the one function that answers the requests of a route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any
from weakref import ref

from fastapi import BackgroundTasks
from starlette.requests import Request
from starlette.types import ASGIApp

from coachman.compiler import places, readers, runtime
from coachman.compiler.answers import Answers, Serialization
from coachman.compiler.calls import Calls
from coachman.compiler.counts import COUNTS
from coachman.compiler.entry import Handler
from coachman.compiler.errors import NotCompiledError
from coachman.compiler.graph import GENERATORS, Graph
from coachman.compiler.inputs import Inputs
from coachman.compiler.source import Shapes, Source
from coachman.compiler.stock import StockRoute, read_route


class RouteFunction:
    """The source of a route's function: read and validate, then call, then answer."""

    def __init__(self, stock: StockRoute) -> None:
        """Raises NotCompiledError for a route that is left to FastAPI."""
        self._stock, self._options = stock, stock.options
        self._dependant = stock.options["dependant"]
        self._source = Source("async def handler(scope, receive, send):")
        self._plan = Graph(self._source).plan(self._dependant)
        if self._plan.kind in GENERATORS:
            raise NotCompiledError("its answer is a stream")
        self._has_body = stock.options["body_field"] is not None
        self._is_body_read = False
        self._inputs = Inputs(self._source, embed_body_fields=stock.options["embed_body_fields"])
        self._answers = Answers(self._source, self._plan, Serialization.of(stock.options))
        self._calls = Calls(self._source, self._plan, stock.options, self._inputs, self._answers)
        self._write()

    def groups(self) -> Iterator[str]:
        """Yields the groups of FastAPI's functions that the route relies on."""
        yield places.EVERY_ROUTE
        if any(call.kind in GENERATORS for call in self._plan.calls):
            yield places.GENERATORS
        if self._options["is_body_form"]:
            yield places.FORMS

    def build(self, shapes: Shapes) -> Handler:
        """Compiles the source, unless another route has the same."""
        # Weakly, for tracebacks: linecache would keep the application for ever.
        return self._source.build(shapes, partial(_write_source_of, ref(self._stock.app)))

    @property
    def write_source(self) -> Callable[[], str]:
        """What writes the source again, so that it need not be kept."""
        return partial(_write_source, self._stock.app)

    def _write(self) -> None:
        source = self._source
        provider = self._options["dependency_overrides_provider"]
        if self._dependant.dependencies and provider:
            with source.block(f"if {source.refer(provider, 'provider')}.dependency_overrides:"):
                self._leave_to_fastapi()
        mark, request = source.mark(), f"{source.use(Request)}(scope, receive, send)"
        if self._has_body:
            self._write_body()
        if self._plan.inputs:
            with source.block("try:"):
                self._inputs.write(self._plan.inputs)
                source.add("is_valid = True")
            with source.block("except Exception:"):
                source.add("is_valid = False")
            with source.block("if not is_valid:"):  # not within the except: it would be the context of others
                self._leave_to_fastapi()
        if self._options["is_body_form"]:
            source.add("scope['fastapi_middleware_astack'].push_async_callback(body.close)")
        source.add(f"{source.use(COUNTS, 'COUNTS')}.compiled += 1")
        if "solved_response" in self._plan.needs:
            source.add(f"solved_response = {source.use(runtime.new_solved_response)}()")
        if "tasks" in self._plan.needs:
            source.add(f"tasks = {source.use(BackgroundTasks)}()")
        source.add("is_started, sender = False, None")
        with source.block("try:"):
            self._write_calls()
        if source.mentions("request", mark):
            source.insert(mark, f"request = {request}")
            request = "request"
        with source.block("except Exception as error:"):
            answer = source.use(runtime.answer_failure)
            has_started = "is_started if sender is None else sender.started"
            source.add(f"await {answer}(error, {request}, receive, send, is_started={has_started})")

    def _write_body(self) -> None:
        source = self._source
        with source.block("try:"):
            if self._options["is_body_form"]:
                limits = source.refer(self._options.get("form_limits"), "limits")
                source.add(f"body = await {source.use(readers.read_form)}(request, {limits})")
            else:
                is_strict = self._options["actual_strict_content_type"]
                source.add(f"body = await {source.use(readers.read_body)}(request, {is_strict!r})")
            source.add("failure = None")
        self._is_body_read = True
        with source.block("except Exception as error:"):
            source.add("failure = error")
        with source.block("if failure is not None:"):
            self._leave_to_fastapi("failure")

    def _leave_to_fastapi(self, error: str = "None") -> None:
        source = self._source
        if self._is_body_read:
            function = source.refer(self._stock.function, "fastapi_handler")
            answer = source.use(runtime.answer_by_fastapi)
            call = f"{answer}({function}, request, receive, send, {error})"
        else:
            call = f"{source.refer(self._stock.app, 'fastapi_app')}(scope, receive, send)"
        source.add(f"{source.use(COUNTS, 'COUNTS')}.left += 1", f"return await {call}")

    def _write_calls(self) -> None:
        source = self._source
        if not self._plan.has_exit_stacks:
            self._calls.write()
            self._answers.write_sending()
            return
        source.add("is_awaited = False")
        with self._exit_stack("request_stack", "fastapi_inner_astack"):
            with self._exit_stack("function_stack", "fastapi_function_astack"):
                self._calls.write()
            self._answers.write_sending()
            source.add("is_awaited = True")
        source.add(f"if not is_awaited: {source.use(runtime.raise_not_awaited)}()")

    @contextmanager
    def _exit_stack(self, name: str, key: str) -> Iterator[None]:
        """Writes what `async with` does, but for two coroutines: most often nothing has been pushed."""
        source = self._source
        source.add(f"{name} = scope[{key!r}] = {source.use(AsyncExitStack)}()")
        with source.block("try:"):
            yield
        with source.block("except BaseException as error:"):
            leave = f"await {name}.__aexit__(type(error), error, error.__traceback__)"
            source.add(f"if not {leave}: raise")
        with source.block("else:"):
            is_used = source.use(runtime.has_callbacks)
            source.add(f"if {is_used}({name}): await {name}.__aexit__(None, None, None)")


def _write_source_of(app: ref[Any]) -> str:
    found = app()
    return _write_source(found) if found is not None else ""


def _write_source(app: ASGIApp) -> str:
    return RouteFunction(read_route(app))._source.text()
