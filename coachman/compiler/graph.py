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
from coachman.compiler.inputs import Group, groups_of, is_pure

_SECURITY_MODULES = tuple(
    f"{security.__name__}.{name}" for name in ("api_key", "http", "oauth2", "open_id_connect_url")
)

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
    key: Any  # by which FastAPI would find the result again


@dataclass(slots=True)
class Plan:
    """What the function of one route has to do, in order: read the inputs, then call.

    Inputs of the endpoint that the application's own code validates are read where FastAPI reads them,
    after the dependencies: that code may rely on them, and may not run twice.
    """

    inputs: list[tuple[Group, str]] = field(default_factory=list)  # and the variable of each
    late_inputs: list[tuple[Group, str]] = field(default_factory=list)  # read after all calls
    calls: list[Call] = field(default_factory=list)
    arguments: Arguments = field(default_factory=list)  # of the endpoint
    kind: Kind = Kind.COROUTINE
    needs: set[str] = field(default_factory=set)  # request, tasks, solved_response, scope

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

    def __init__(self, constant: Callable[[Any, str], str], variable: Callable[[str], str]) -> None:
        """`constant` names an object in the source, `variable` a new local variable."""
        self._constant, self._variable = constant, variable
        self._results: dict[Any, str] = {}
        self._plan = Plan()
        self._root: Dependant | None = None

    def plan(self, dependant: Dependant) -> Plan:
        """Returns what is to be done for an endpoint."""
        self._root = dependant
        self._plan.arguments = self._solve(dependant)
        self._plan.kind = kind_of(dependant.call)
        return self._plan

    def _solve(self, dependant: Dependant, *, is_repeated: bool = False) -> Arguments:
        arguments = [
            (sub.name, result)
            for sub in dependant.dependencies
            for result in [self._depend(sub)]
            if sub.name is not None
        ]
        arguments += [self._read(group, dependant, is_repeated=is_repeated) for group in groups_of(dependant)]
        return arguments + self._given(dependant)

    def _depend(self, sub: Dependant) -> str:
        key = models._get_cache_key(dependant=sub)
        known = self._results.get(key) if sub.use_cache else None
        # A repeated dependency is not called again, but what it depends on is solved again: its
        # dependencies without a cache are called, and the results thrown away.
        arguments = self._solve(sub, is_repeated=known is not None)
        # It may have become known only now, as a dependency of its own dependencies.
        known = self._results.get(key) if sub.use_cache else None
        if known is not None:
            return known
        result = self._variable("dependency")
        kind = kind_of(sub.call)
        self._plan.calls.append(Call(sub, kind, arguments, result, key))
        self._results.setdefault(key, result)
        return result

    def _read(self, group: Group, dependant: Dependant, *, is_repeated: bool) -> tuple[str, str]:
        variable = self._variable("input")
        if is_pure(group):
            if not is_repeated:
                self._plan.inputs.append((group, variable))
        elif dependant is self._root:
            self._plan.late_inputs.append((group, variable))
            return "**", variable
        else:
            raise NotCompiledError("a dependency's input is validated by the application's own code")
        return group.parameter, variable

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
            new = self._constant(security.SecurityScopes, "security_scopes")
            arguments.append(
                (
                    dependant.security_scopes_param_name,
                    f"{new}(scopes={self._constant(scopes, 'scopes')}.copy())",
                )
            )
        return arguments


def _leaves_scope_alone(call: Any) -> bool:
    """Whether it is one of FastAPI's own security schemes, which read a header and nothing else."""
    return type(call).__module__ in _SECURITY_MODULES
