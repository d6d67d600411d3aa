"""Flattens the dependencies of one route into the order in which FastAPI would call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from fastapi import security
from fastapi.dependencies import models
from fastapi.dependencies.models import Dependant

from coachman.compiler.errors import NotCompiledError
from coachman.compiler.features import concurrency_of
from coachman.compiler.inputs import Group, groups_of, is_pure
from coachman.compiler.source import Source

_SECURITY_MODULES = tuple(
    f"{security.__name__}.{name}" for name in ("api_key", "http", "oauth2", "open_id_connect_url")
)

Guards = tuple[str, ...]
Arguments = list[tuple[str, str]]  # name of the parameter ("**" for a dictionary of them), local variable


class Kind(Enum):
    """How FastAPI calls a dependency or an endpoint."""

    COROUTINE = auto()
    THREAD = auto()
    GENERATOR = auto()
    ASYNC_GENERATOR = auto()


GENERATORS = (Kind.GENERATOR, Kind.ASYNC_GENERATOR)


@dataclass(slots=True)
class Call:
    """One call of a dependency, and the local variable that keeps its result."""

    dependant: Dependant
    kind: Kind
    arguments: Arguments
    result: str
    guards: tuple[str, ...]  # local variables that must be true: inputs below it that may be refused


@dataclass(slots=True)
class Read:
    """Inputs that the application's own code validates, and the local variable that keeps them."""

    group: Group
    variable: str
    flag: str  # the local variable that tells whether they are valid


@dataclass(slots=True)
class Plan:
    """What the function of one route has to do, in order: read the inputs, then take the steps.

    Inputs that the application's own code validates are read among the calls, where FastAPI reads them:
    that code may rely on dependencies before it, and may not run twice.
    """

    inputs: list[tuple[Group, str]] = field(default_factory=list)  # and the variable of each
    steps: list[Read | Call] = field(default_factory=list)
    arguments: Arguments = field(default_factory=list)  # of the endpoint
    kind: Kind = Kind.COROUTINE
    needs: set[str] = field(default_factory=set)  # request, tasks, solved_response, scope

    @property
    def calls(self) -> list[Call]:
        """The calls of dependencies."""
        return [step for step in self.steps if isinstance(step, Call)]

    @property
    def reads(self) -> list[Read]:
        """The inputs that are read among the calls."""
        return [step for step in self.steps if isinstance(step, Read)]

    def last_hop(self) -> list[Call]:
        """Returns the synchronous dependencies right before a synchronous endpoint: one thread runs all."""
        hop: list[Call] = []
        if self.kind is not Kind.THREAD or self.reads:
            return hop
        for call in reversed(self.calls):
            if call.kind is not Kind.THREAD or concurrency_of(call.dependant) is not None:
                break
            hop.insert(0, call)
        return hop

    @property
    def has_exit_stacks(self) -> bool:
        """Whether anything may use the exit stacks that FastAPI keeps in the scope."""
        return "scope" in self.needs or any(call.kind in GENERATORS for call in self.calls)


def kind_of(call: Callable[..., Any] | None) -> Kind:
    """Returns how FastAPI would call it."""
    if models._is_async_gen_callable(call):
        return Kind.ASYNC_GENERATOR
    if models._is_gen_callable(call):
        return Kind.GENERATOR
    return Kind.COROUTINE if models._is_coroutine_callable(call) else Kind.THREAD


class Graph:
    """Walks a tree of dependants as solve_dependencies() does, and writes down what it would do."""

    def __init__(self, source: Source) -> None:
        """`source`: names what the plan refers to."""
        self._source = source
        self._results: dict[Any, Call] = {}
        self._plan = Plan()

    def plan(self, dependant: Dependant) -> Plan:
        """Returns what is to be done for an endpoint."""
        self._plan.arguments, _ = self._solve(dependant)
        self._plan.kind = kind_of(dependant.call)
        return self._plan

    def _solve(self, dependant: Dependant, *, is_repeated: bool = False) -> tuple[Arguments, Guards]:
        arguments: Arguments = []
        guards: Guards = ()
        for sub in dependant.dependencies:
            call = self._depend(sub)
            guards += call.guards
            if sub.name is not None:
                arguments.append((sub.name, call.result))
        for group in groups_of(dependant):
            if is_pure(group):
                arguments.append((group.parameter, self._read_first(group, is_repeated=is_repeated)))
            else:
                read = Read(group, self._source.variable("input"), self._source.variable("is_valid"))
                self._plan.steps.append(read)
                arguments.append(("**", read.variable))
                guards += (read.flag,)
        return arguments + self._given(dependant), guards

    def _depend(self, sub: Dependant) -> Call:
        key = models._get_cache_key(dependant=sub)
        known = self._results.get(key) if sub.use_cache else None
        # A repeated dependency is not called again, but what it depends on is solved again: its
        # dependencies without a cache are called, and the results thrown away.
        arguments, guards = self._solve(sub, is_repeated=known is not None)
        # It may have become known only now, as a dependency of its own dependencies.
        known = self._results.get(key) if sub.use_cache else None
        if known is not None:
            if known.guards or guards:  # whether it was called the first time is not known
                raise NotCompiledError("a repeated dependency's input is validated by the application's code")
            return known
        call = Call(sub, kind_of(sub.call), arguments, self._source.variable("dependency"), guards)
        self._plan.steps.append(call)
        self._results.setdefault(key, call)
        return call

    def _read_first(self, group: Group, *, is_repeated: bool) -> str:
        variable = self._source.variable("input")
        if not is_repeated:
            self._plan.inputs.append((group, variable))
        return variable

    def _given(self, dependant: Dependant) -> Arguments:
        """Returns what FastAPI passes of its own objects, in FastAPI's order."""
        arguments, needs = [], self._plan.needs
        for name in (dependant.http_connection_param_name, dependant.request_param_name):
            if name:
                arguments.append((name, "request"))
                needs.add("request")
                if not _leaves_scope_alone(dependant.call):
                    needs.add("scope")
        if dependant.background_tasks_param_name:
            arguments.append((dependant.background_tasks_param_name, "tasks"))
            needs.add("tasks")
        if dependant.response_param_name:
            arguments.append((dependant.response_param_name, "solved_response"))
            needs.add("solved_response")
        if dependant.security_scopes_param_name:
            scopes = models._get_oauth_scopes(dependant=dependant)
            new = self._source.use(security.SecurityScopes)
            arguments.append(
                (
                    dependant.security_scopes_param_name,
                    f"{new}(scopes={self._source.refer(scopes, 'scopes')}.copy())",
                )
            )
        return arguments


def _leaves_scope_alone(call: Any) -> bool:
    """Whether it is one of FastAPI's own security schemes, which read a header and nothing else."""
    return type(call).__module__ in _SECURITY_MODULES
