"""Writes how the inputs of a request are read and validated."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from typing import Any

from fastapi import params
from fastapi._compat import (
    ModelField,
    Undefined,
    field_annotation_is_sequence,
    get_cached_model_fields,
    is_bytes_or_nonable_bytes_annotation,
    is_bytes_sequence_annotation,
)
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant

from coachman.compiler.features import form_models
from coachman.compiler.readers import (
    RefusedInputError,
    read_cookies,
    read_header,
    read_header_list,
    read_headers,
    read_query,
)
from coachman.compiler.source import Source

_SOURCES = ("path", "query", "header", "cookie")
_IMMUTABLE = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Group:
    """Inputs that are read together: one simple parameter, or all of one kind that a callable takes."""

    source: str  # path, query, header, cookie or body
    fields: tuple[ModelField, ...]
    is_simple: bool

    @property
    def parameter(self) -> str:
        """The name of the parameter that gets the value, or "**" for a dictionary of them."""
        return self.fields[0].name if self.is_simple else "**"


def groups_of(dependant: Dependant) -> Iterator[Group]:
    """Yields what a callable takes from the request, in FastAPI's order."""
    for source in _SOURCES:
        fields = getattr(dependant, f"{source}_params")
        if all(_is_simple(field) for field in fields):
            yield from (Group(source, (field,), True) for field in fields)
        elif fields:
            yield Group(source, tuple(fields), False)
    if dependant.body_params:
        fields = tuple(dependant.body_params)
        yield Group("body", fields, _is_whole_body(fields))


def _is_simple(field: ModelField) -> bool:
    """Whether one value under one name is read; models of parameters and choices of names are not."""
    if isinstance(field.field_info, params.Path):
        return not field_annotation_is_sequence(field.field_info.annotation)
    return utils._get_param_model(field) is None and len(utils._get_param_aliases(field)) == 1


def _is_whole_body(fields: tuple[ModelField, ...]) -> bool:
    return (
        len(fields) == 1
        and not utils._should_embed_body_fields(list(fields))
        and not isinstance(fields[0].field_info, params.Form)
    )


def is_pure(group: Group) -> bool:
    """Whether it makes no difference when the inputs are read: no code of the application's own runs.

    Bytes of an uploaded file are read from where the file stands, which a dependency may have changed.
    """
    return all(is_field_pure(field) and not _reads_file(field) for field in group.fields)


def _reads_file(field: ModelField) -> bool:
    fields = [field]
    for model in form_models(field):
        fields += get_cached_model_fields(model)
    return any(
        is_bytes_or_nonable_bytes_annotation(one.field_info.annotation)
        or is_bytes_sequence_annotation(one.field_info.annotation)
        for one in fields
        if isinstance(one.field_info, params.File)
    )


@cache
def is_field_pure(field: ModelField) -> bool:
    """Whether validating it runs no code of the application's own."""
    if field.field_info.default_factory is not None:
        return False
    return _is_schema_pure(field._type_adapter.core_schema)


def _is_schema_pure(schema: Any) -> bool:
    if isinstance(schema, dict):
        if schema.get("custom_init") or schema.get("post_init") or schema.get("default_factory"):
            return False
        return all(_is_schema_pure(value) for key, value in schema.items() if key not in _NOT_RUN)
    if isinstance(schema, (list, tuple)):
        return all(_is_schema_pure(value) for value in schema)
    if isinstance(schema, partial):
        return _is_schema_pure((schema.func, schema.args, schema.keywords))
    if callable(schema) and not isinstance(schema, type):
        return getattr(schema, "__module__", "").partition(".")[0] in ("pydantic", "pydantic_core", "fastapi")
    return True


_GIVEN = {
    "path": "request.path_params",
    "query": "request.query_params",
    "header": "request.headers",
    "cookie": "request.cookies",
}
_NOT_RUN = ("serialization", "metadata", "computed_fields", "config")


def _is_immutable(value: Any) -> bool:
    """Whether a deep copy of it is the same object."""
    return type(value) in _IMMUTABLE or isinstance(value, Enum)


class Inputs:
    """Writes the part of a function that reads and validates; it raises where FastAPI shall answer."""

    def __init__(self, source: Source, *, embed_body_fields: bool) -> None:
        self._source, self._embed = source, embed_body_fields
        self._opened: set[str] = set()
        self.needs_request = False

    def write(self, inputs: list[tuple[Group, str]]) -> None:
        """Adds the lines for all inputs of a plan."""
        for group, variable in inputs:
            if not group.is_simple:
                self._write_group(group, variable)
            elif group.source == "body":
                self._write_body(group.fields[0], variable)
            else:
                self._write_parameter(group.source, group.fields[0], variable)

    def write_read(self, group: Group, variable: str, flag: str) -> None:
        """Adds the lines for inputs that the application's own code validates, which may refuse them."""
        self._call_fastapi(group, variable, "refused")
        self._source.add("errors += refused", f"{flag} = not refused")

    def _write_parameter(self, source: str, field: ModelField, variable: str) -> None:
        ((_, alias),) = utils._get_param_aliases(field)
        is_sequence = field_annotation_is_sequence(field.field_info.annotation)
        is_list = is_sequence and not utils._is_json_field(field)
        if source == "header":
            alias = alias.lower()
        key = repr(alias)
        if source == "path":
            self._open("path", "path_params = scope['path_params']")
            lookup = f"path_params.get({key})"
        elif source == "query":
            self._open("query", f"query = {self._function(read_query)}(scope)")
            lookup = f"[value for key, value in query if key == {key}]" if is_list else ""
            if not is_list:
                self._open("query_values", "query_values = dict(query)")
                lookup = f"query_values.get({key})"
        elif source == "header":
            self._open("header", f"headers = {self._function(read_headers)}(scope)")
            raw = repr(alias.encode("latin-1"))
            reader = read_header_list if is_list else read_header
            lookup = f"{self._function(reader)}(headers, {raw})"
        else:
            self._open("header", f"headers = {self._function(read_headers)}(scope)")
            self._open("cookie", f"cookies = {self._function(read_cookies)}(headers)")
            lookup = f"cookies.get({key})"
        if is_sequence:
            lookup = f"{lookup} or None"
        self._validate(field, variable, lookup)

    def _validate(self, field: ModelField, variable: str, lookup: str) -> None:
        source, info = self._source, field.field_info
        check = source.refer(field._type_adapter.validator.validate_python, "check")
        validated = f"{variable} = {check}({variable}, from_attributes=True)"
        source.add(f"{variable} = {lookup}")
        with source.block(f"if {variable} is None:"):
            if info.is_required():
                source.add(f"raise {source.use(RefusedInputError)}")
            else:
                self._write_default(field, variable)
                if info.validate_default:
                    source.add(validated)
        with source.block("else:"):
            source.add(validated)

    def _write_default(self, field: ModelField, variable: str) -> None:
        source = self._source
        if field.field_info.default_factory is None and _is_immutable(field.default):
            default = "None" if field.default is None else source.refer(field.default, "default")
            source.add(f"{variable} = {default}")
            return
        copy = self._function(deepcopy)
        source.add(f"{variable} = {copy}({source.refer(field, 'field')}.default)")

    def _write_body(self, field: ModelField, variable: str) -> None:
        source = self._source
        check = source.refer(field._type_adapter.validator.validate_python, "check")
        undefined = source.use(Undefined, "Undefined")
        validated = f"{variable} = {check}(body, from_attributes=True)"
        if field.field_info.is_required():
            with source.block(f"if body is {undefined}:"):
                source.add(f"raise {source.use(RefusedInputError)}")
            source.add(validated)
            return
        with source.block(f"if body is {undefined}:"):
            self._write_default(field, variable)
            if field.field_info.validate_default:
                source.add(f"{variable} = {check}({variable}, from_attributes=True)")
        with source.block("else:"):
            source.add(validated)

    def _write_group(self, group: Group, variable: str) -> None:
        self._call_fastapi(group, variable, "errors")
        with self._source.block("if errors:"):
            self._source.add(f"raise {self._source.use(RefusedInputError)}")

    def _call_fastapi(self, group: Group, variable: str, errors: str) -> None:
        """Leaves the reading to FastAPI's own function, which knows of models and choices of names."""
        fields = self._source.refer(list(group.fields), "fields")
        if group.source == "body":
            call = f"await {self._function(utils.request_body_to_args)}({fields}, body, {self._embed})"
        else:
            call = f"{self._function(utils.request_params_to_args)}({fields}, {_GIVEN[group.source]})"
        self._source.add(f"{variable}, {errors} = {call}")

    def _open(self, name: str, line: str) -> None:
        if name not in self._opened:
            self._opened.add(name)
            self._source.add(line)

    def _function(self, function: Any) -> str:
        return self._source.use(function)
