"""Writes the calls of the dependencies and of the endpoint."""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import copy_context
from typing import Any

from fastapi._compat import Undefined
from fastapi.dependencies import utils
from starlette.concurrency import run_in_threadpool

from coachman.compiler import runtime
from coachman.compiler.answers import Answers
from coachman.compiler.features import GENERATORS_TAKE_REQUEST, concurrency_of
from coachman.compiler.graph import GENERATORS, Arguments, Call, Kind, Plan, Read
from coachman.compiler.inputs import Inputs
from coachman.compiler.source import Source


class Calls:
    """Writes what happens between the inputs and the answer."""

    def __init__(
        self, source: Source, plan: Plan, options: dict[str, Any], inputs: Inputs, answers: Answers
    ) -> None:
        """`options`: those of get_request_handler()."""
        self._source, self._plan, self._options = source, plan, options
        self._dependant = options["dependant"]
        self._inputs, self._answers = inputs, answers

    def write(self) -> None:
        """Adds the lines for all calls; those of Answers follow, which take the result from `raw`."""
        source, call = self._source, self._dependant.call
        endpoint, arguments = source.refer(call, "endpoint"), _written(self._plan.arguments)
        if self._plan.reads:
            source.add("errors = []")
        hop = self._plan.last_hop()
        steps = self._plan.steps[: len(self._plan.steps) - len(hop)]
        if self._may_be_overridden():
            self._write_overridable_steps(steps, hop)
            arguments = "**values"
        else:
            for step in steps:
                self._write_step(step)
            self._write_refusal()
        if self._plan.kind is Kind.COROUTINE:
            source.add(f"raw = await {endpoint}({arguments})")
        else:
            self._write_hop(hop, endpoint, arguments)
        self._answers.write_response(call, self._dependant.path)

    def _write_hop(self, hop: list[Call], endpoint: str, arguments: str) -> None:
        """Calls the endpoint in a thread, with the synchronous dependencies right before it.

        Each call has a copy of the context of its own, as it has where each is a hop of its own.
        """
        source = self._source
        run = f"{source.use(copy_context)}().run"
        stop = source.use(runtime.stop_if_cancelled)
        with source.block("def hop(is_cancelled):"):
            if hop and arguments == "**values":
                with source.block("if values is None:"):
                    self._write_hop_calls(hop, run, stop)
                    source.add(f"given = dict({_written(self._plan.arguments)})")
                source.add("else: given = values")
                arguments = "**given"
            else:
                self._write_hop_calls(hop, run, stop)
            source.add(f"raw = {run}({', '.join(filter(None, (endpoint, arguments)))})")
            self._answers.write_validation_in_thread(run, stop)
        source.add(f"raw, content, invalid = await {source.use(runtime.run_hop)}(hop)")

    def _write_hop_calls(self, hop: list[Call], run: str, stop: str) -> None:
        for call in hop:
            function = self._source.refer(call.dependant.call, "call")
            given = ", ".join(filter(None, (function, _written(call.arguments))))
            self._source.add(f"{call.result} = {run}({given})", f"{stop}(is_cancelled)")

    def _may_be_overridden(self) -> bool:
        """Whether an override that a dependency sets would count for one after it, in the same request."""
        calls = self._plan.calls
        return (
            bool(self._options["dependency_overrides_provider"])
            and len(calls) > 1
            and all(call.dependant.use_cache and not call.guards for call in calls)
        )

    def _write_overridable_steps(self, steps: list[Read | Call], hop: list[Call]) -> None:
        """Calls the dependencies; once there is an override, FastAPI solves those that are left."""
        source = self._source
        provider = source.refer(self._options["dependency_overrides_provider"], "provider")
        tasks = "tasks" if "tasks" in self._plan.needs else "None"
        response = "solved_response" if "solved_response" in self._plan.needs else "None"
        body = "body" if self._options["body_field"] is not None else source.use(Undefined, "Undefined")
        rest = source.refer(
            runtime.Rest(
                self._dependant,
                tuple(call.dependant for call in self._plan.calls),
                self._options["dependency_overrides_provider"],
                self._options["embed_body_fields"],
            ),
            "rest",
        )
        done: list[str] = []
        with source.block("while True:"):  # to be left in the middle
            for step in [*steps, None]:  # None: the hop, or the endpoint
                if done and (isinstance(step, Call) or (step is None and hop)):
                    with source.block(f"if {provider}.dependency_overrides:"):
                        source.add(
                            f"values = await {rest}.solve(request, {body}, {tasks}, {response},"
                            f" ({', '.join(done)},))",
                            "break",
                        )
                if step is not None:
                    self._write_step(step)
                if isinstance(step, Call):
                    done.append(step.result)
            self._write_refusal()
            values = "None" if hop else f"dict({_written(self._plan.arguments)})"
            source.add(f"values = {values}", "break")

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
        refuse = source.use(runtime.raise_invalid_request)
        body = "body" if self._options["body_field"] is not None else "None"
        endpoint = source.refer(self._dependant.call, "endpoint")
        path = source.refer(self._dependant.path, "path")
        source.add(f"if errors: {refuse}(errors, {body}, {endpoint}, {path}, scope)")

    def _write_call(self, call: Call) -> None:
        source, dependant = self._source, call.dependant
        function, arguments = source.refer(dependant.call, "call"), _written(call.arguments)
        if call.kind in GENERATORS:
            solve = source.use(utils._solve_generator)
            stack = "function_stack" if dependant.scope == "function" else "request_stack"
            given = f"dependant={source.refer(dependant, 'dependant')}, stack={stack}"
            if GENERATORS_TAKE_REQUEST:
                given = f"request=request, {given}"
            source.add(f"{call.result} = await {solve}({given}, sub_values=dict({arguments}))")
            return
        limit: Any = nullcontext()
        if (concurrency := concurrency_of(dependant)) is not None:
            semaphore = source.refer(concurrency.get_semaphore, "get_semaphore")
            limit = source.block(f"async with {semaphore}():")
        with limit:
            if call.kind is Kind.COROUTINE:
                source.add(f"{call.result} = await {function}({arguments})")
            else:
                thread = source.use(run_in_threadpool)
                given = ", ".join(filter(None, (function, arguments)))
                source.add(f"{call.result} = await {thread}({given})")


def _written(arguments: Arguments) -> str:
    return ", ".join(f"**{value}" if name == "**" else f"{name}={value}" for name, value in arguments)
