"""Writes the one function that answers the requests of a route."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, nullcontext
from functools import partial
from typing import Any

import anyio.to_thread
from fastapi import BackgroundTasks
from fastapi._compat import Undefined
from fastapi.dependencies import utils
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from coachman.compiler import known, readers, runtime
from coachman.compiler.answers import Answers, Serialization
from coachman.compiler.counts import COUNTS
from coachman.compiler.entry import Handler
from coachman.compiler.errors import NotCompiledError
from coachman.compiler.graph import GENERATORS, Arguments, Call, Graph, Kind, Read
from coachman.compiler.inputs import Inputs
from coachman.compiler.source import Source
from coachman.compiler.stock import StockRoute


class RouteFunction:
    """The source of a route's function: read and validate, then call, then answer."""

    def __init__(self, stock: StockRoute) -> None:
        """Raises NotCompiledError for a route that is left to FastAPI."""
        self._stock, self._options = stock, stock.options
        self._dependant = stock.options["dependant"]
        self._source = Source("async def handler(scope, receive, send):")
        self._plan = Graph(self._source.refer, self._source.variable).plan(self._dependant)
        if self._plan.kind in GENERATORS:
            raise NotCompiledError("its answer is a stream")
        self._has_body = stock.options["body_field"] is not None
        self._is_body_read = False
        self._inputs = Inputs(self._source, embed_body_fields=stock.options["embed_body_fields"])
        self._answers = Answers(self._source, self._plan, Serialization.of(stock.options))
        self._write()

    def groups(self) -> Iterator[str]:
        """Yields the groups of FastAPI's functions that the route relies on."""
        yield known.EVERY_ROUTE
        if any(call.kind in GENERATORS for call in self._plan.calls):
            yield known.GENERATORS
        if self._options["is_body_form"]:
            yield known.FORMS

    def text(self) -> str:
        """Returns the source."""
        return self._source.text()

    def build(self) -> Handler:
        """Compiles the source."""
        return self._source.build("handler")

    def _write(self) -> None:
        source = self._source
        provider = self._options["dependency_overrides_provider"]
        if self._dependant.dependencies and provider:
            with source.block(f"if {source.refer(provider, 'provider')}.dependency_overrides:"):
                self._leave_to_fastapi()
        source.add(f"request = {source.refer(Request, 'Request')}(scope, receive, send)")
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
        source.add(f"{source.refer(COUNTS, 'counts')}.compiled += 1")
        if "solved_response" in self._plan.needs:
            source.add(f"solved_response = {source.refer(runtime.new_solved_response, 'new_response')}()")
        if "tasks" in self._plan.needs:
            source.add(f"tasks = {source.refer(BackgroundTasks, 'BackgroundTasks')}()")
        source.add("is_started, sender = False, None")
        with source.block("try:"):
            self._write_calls()
        with source.block("except Exception as error:"):
            answer = source.refer(runtime.answer_failure, "answer_failure")
            has_started = "is_started if sender is None else sender.started"
            source.add(f"await {answer}(error, request, receive, send, is_started={has_started})")

    def _write_body(self) -> None:
        source = self._source
        with source.block("try:"):
            if self._options["is_body_form"]:
                limits = source.refer(self._options["form_limits"], "limits")
                source.add(f"body = await {source.refer(readers.read_form, 'read_form')}(request, {limits})")
            else:
                is_strict = self._options["actual_strict_content_type"]
                source.add(
                    f"body = await {source.refer(readers.read_body, 'read_body')}(request, {is_strict!r})"
                )
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
            answer = source.refer(runtime.answer_by_fastapi, "answer_by_fastapi")
            call = f"{answer}({function}, request, receive, send, {error})"
        else:
            call = f"{source.refer(self._stock.app, 'fastapi_app')}(scope, receive, send)"
        source.add(f"{source.refer(COUNTS, 'counts')}.left += 1", f"return await {call}")

    def _write_calls(self) -> None:
        source = self._source
        if not self._plan.has_exit_stacks:
            self._write_endpoint()
            self._answers.write_sending()
            return
        new = source.refer(AsyncExitStack, "AsyncExitStack")
        source.add("is_awaited = False")
        with source.block(f"async with {new}() as request_stack:"):
            source.add("scope['fastapi_inner_astack'] = request_stack")
            with source.block(f"async with {new}() as function_stack:"):
                source.add("scope['fastapi_function_astack'] = function_stack")
                self._write_endpoint()
            self._answers.write_sending()
            source.add("is_awaited = True")
        source.add(f"if not is_awaited: {source.refer(runtime.raise_not_awaited, 'raise_not_awaited')}()")

    def _write_endpoint(self) -> None:
        source, call = self._source, self._dependant.call
        endpoint, arguments = source.refer(call, "endpoint"), _written(self._plan.arguments)
        if self._plan.reads:
            source.add("errors = []")
        if self._may_be_overridden():
            self._write_overridable_steps()
            arguments = "**values"
        else:
            for step in self._plan.steps:
                self._write_step(step)
            self._write_refusal()
        if self._plan.kind is Kind.COROUTINE:
            source.add(f"raw = await {endpoint}({arguments})")
        else:
            thread, bound = (
                source.refer(anyio.to_thread.run_sync, "run_sync"),
                source.refer(partial, "partial"),
            )
            source.add(f"raw = await {thread}({bound}({', '.join(filter(None, (endpoint, arguments)))}))")
        self._answers.write_response(call, self._dependant.path)

    def _may_be_overridden(self) -> bool:
        """Whether an override that a dependency sets would count for one after it, in the same request."""
        calls = self._plan.calls
        return (
            bool(self._options["dependency_overrides_provider"])
            and len(calls) > 1
            and all(call.dependant.use_cache and not call.guards for call in calls)
        )

    def _write_overridable_steps(self) -> None:
        """Calls the dependencies; once there is an override, FastAPI solves those that are left."""
        source = self._source
        provider = source.refer(self._options["dependency_overrides_provider"], "provider")
        tasks = "tasks" if "tasks" in self._plan.needs else "None"
        response = "solved_response" if "solved_response" in self._plan.needs else "None"
        body = "body" if self._has_body else source.refer(Undefined, "undefined")
        solve = source.refer(runtime.solve_rest, "solve_rest")
        dependant = source.refer(self._dependant, "dependant")
        done: list[str] = []
        with source.block("while True:"):  # to be left in the middle
            for step in self._plan.steps:
                if done and isinstance(step, Call):
                    with source.block(f"if {provider}.dependency_overrides:"):
                        source.add(
                            f"solved = {{{', '.join(done)}}}",
                            f"values = await {solve}({dependant}, request, {body}, {tasks}, {response},"
                            f" {provider}, solved, {self._options['embed_body_fields']})",
                            "break",
                        )
                self._write_step(step)
                if isinstance(step, Call):
                    done.append(f"{source.refer(step.key, 'key')}: {step.result}")
            self._write_refusal()
            source.add(f"values = dict({_written(self._plan.arguments)})", "break")

    def _write_step(self, step: Read | Call) -> None:
        if isinstance(step, Read):
            self._inputs.write_read(step.group, step.variable, step.flag)
        elif step.guards:
            with self._source.block(f"if {' and '.join(step.guards)}:"):
                self._write_call(step)
        else:
            self._write_call(step)

    def _write_refusal(self) -> None:
        if not self._plan.reads:
            return
        source = self._source
        refuse = source.refer(runtime.raise_invalid_request, "raise_invalid_request")
        body = "body" if self._has_body else "None"
        endpoint = source.refer(self._dependant.call, "endpoint")
        path = source.refer(self._dependant.path, "path")
        source.add(f"if errors: {refuse}(errors, {body}, {endpoint}, {path}, scope)")

    def _write_call(self, call: Call) -> None:
        source, dependant = self._source, call.dependant
        function, arguments = source.refer(dependant.call, "call"), _written(call.arguments)
        if call.kind in GENERATORS:
            solve = source.refer(utils._solve_generator, "solve_generator")
            stack = "function_stack" if dependant.scope == "function" else "request_stack"
            given = f"request=request, dependant={source.refer(dependant, 'dependant')}, stack={stack}"
            source.add(f"{call.result} = await {solve}({given}, sub_values=dict({arguments}))")
            return
        limit: Any = nullcontext()
        if dependant.concurrency is not None:
            semaphore = source.refer(dependant.concurrency.get_semaphore, "get_semaphore")
            limit = source.block(f"async with {semaphore}():")
        with limit:
            if call.kind is Kind.COROUTINE:
                source.add(f"{call.result} = await {function}({arguments})")
            else:
                thread = source.refer(run_in_threadpool, "run_in_threadpool")
                given = ", ".join(filter(None, (function, arguments)))
                source.add(f"{call.result} = await {thread}({given})")


def _written(arguments: Arguments) -> str:
    return ", ".join(f"**{value}" if name == "**" else f"{name}={value}" for name, value in arguments)
