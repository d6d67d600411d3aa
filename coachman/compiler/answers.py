"""Writes how the endpoint's result becomes the messages of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi._compat import ModelField
from fastapi.datastructures import DefaultPlaceholder
from fastapi.encoders import jsonable_encoder
from fastapi.utils import is_body_allowed_for_status_code
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from coachman.compiler import runtime
from coachman.compiler.graph import Kind, Plan
from coachman.compiler.source import Source

# What pydantic takes them for when they are not given, or given as None.
_DEFAULTS: dict[str, Any] = {
    "include": None,
    "exclude": None,
    "by_alias": None,
    "exclude_unset": False,
    "exclude_defaults": False,
    "exclude_none": False,
}


@dataclass(frozen=True, slots=True)
class Serialization:
    """How FastAPI serialises what an endpoint returns."""

    field: ModelField | None
    options: dict[str, Any]  # include, exclude and so on, without those that are the default
    response_class: type[Response]
    is_default_class: bool
    status_code: int | None

    @classmethod
    def of(cls, options: dict[str, Any]) -> Serialization:
        """`options`: those of get_request_handler()."""
        given = {name: options[f"response_model_{name}"] for name in _DEFAULTS}
        return cls(
            field=options["response_field"],
            options={name: value for name, value in given.items() if value != _DEFAULTS[name]},
            response_class=options["actual_response_class"],
            is_default_class=isinstance(options["response_class"], DefaultPlaceholder),
            status_code=options["status_code"],
        )

    @property
    def is_dumped(self) -> bool:
        """Whether pydantic writes the JSON itself."""
        return self.field is not None and self.is_default_class

    @property
    def is_plain(self) -> bool:
        """Whether the messages can be written without a Response object."""
        is_json = self.is_dumped or (self.field is None and self.response_class is JSONResponse)
        return is_json and is_ordinary(self.status_code or 200)


def is_ordinary(status_code: int) -> bool:
    """Whether an answer with this status has a body and says how long it is."""
    return status_code >= 200 and is_body_allowed_for_status_code(status_code)


class Answers:
    """Writes the lines after the call of the endpoint, whose result is in `raw`."""

    def __init__(self, source: Source, plan: Plan, serialization: Serialization) -> None:
        self._source, self._plan, self._serialization = source, plan, serialization
        self._tasks = "tasks" if "tasks" in plan.needs else "None"
        self._has_solved_response = "solved_response" in plan.needs

    def write_response(self, call: Any, path: str | None) -> None:
        """Adds the lines that make `response`, or `content` and `status` where `response` is None."""
        source, refer = self._source, self._source.refer
        with source.block(f"if isinstance(raw, {source.use(Response)}):"):
            source.add(f"if raw.background is None: raw.background = {self._tasks}")
            source.add("response = raw")
        with source.block("else:"):
            self._write_content(refer(call, "endpoint"), path)
            if not self._serialization.is_plain:
                self._write_object()
            elif self._has_solved_response:
                self._write_status()
            else:
                source.add("response = None")

    def _write_content(self, endpoint: str, path: str | None) -> None:
        source, serialization = self._source, self._serialization
        refer, use = source.refer, source.use
        field = serialization.field
        if field is None:
            source.add(f"content = {use(jsonable_encoder)}(raw)")
            if serialization.is_plain:
                source.add(f"content = {use(_render_json, 'render_json')}(content)")
            return
        refuse = use(runtime.raise_invalid_response)
        refuse = f"{refuse}(invalid, raw, {endpoint}, {refer(path, 'path')}, scope)"
        if self._plan.kind is Kind.COROUTINE:
            check = refer(field._type_adapter.validator.validate_python, "check")
            with source.block("try:"):
                source.add(f"content, invalid = {check}(raw, from_attributes=True), None")
            with source.block(f"except {use(ValidationError)} as error:"):
                source.add("invalid = error")
            source.add(f"if invalid is not None: {refuse}")
        else:
            source.add(f"if invalid: {refuse}")
        options = "".join(f", {name}={refer(value, name)}" for name, value in serialization.options.items())
        if serialization.is_dumped:
            dump = refer(field._type_adapter.serializer.to_json, "dump")
            source.add(f"content = {dump}(content{options})")
        else:
            source.add(f"content = {refer(field, 'field')}.serialize(content{options})")

    def write_validation_in_thread(self, run: str, stop: str) -> None:
        """Adds the lines that end a hop: the result of a synchronous endpoint is validated in the thread."""
        source, refer, use = self._source, self._source.refer, self._source.use
        field = self._serialization.field
        if field is not None:
            with source.block(f"if not isinstance(raw, {use(Response)}):"):
                source.add(
                    f"{stop}(is_cancelled)",
                    f"return raw, *{run}({refer(field, 'field')}.validate, raw, {{}}, loc=('response',))",
                )
        source.add("return raw, None, None")

    def _write_object(self) -> None:
        source, use, serialization = self._source, self._source.use, self._serialization
        fixed = serialization.status_code
        solved = "solved_response.status_code" if self._has_solved_response else "None"
        arguments = f"**{use(runtime.response_arguments)}({fixed!r}, {solved}, {self._tasks})"
        if serialization.is_dumped:
            new = use(Response)
            source.add(f"response = {new}(content=content, media_type='application/json', {arguments})")
        else:
            new = source.refer(serialization.response_class, "response_class")
            source.add(f"response = {new}(content, {arguments})")
        allowed = use(is_body_allowed_for_status_code)
        source.add(f"if not {allowed}(response.status_code): response.body = b''")
        if self._has_solved_response:
            source.add("response.headers.raw.extend(solved_response.headers.raw)")

    def _write_status(self) -> None:
        """A dependency may have set a status with which the answer has no body."""
        source = self._source
        fixed = self._serialization.status_code or 200
        source.add("response = None")
        source.add(f"status = solved_response.status_code or {fixed}")
        with source.block(f"if not {source.use(is_ordinary)}(status):"):
            new = source.use(Response)
            tasks = f"background={self._tasks}"
            source.add(
                f"response = {new}(content, status_code=status, media_type='application/json', {tasks})",
                f"if not {source.use(is_body_allowed_for_status_code)}(status): response.body = b''",
                "response.headers.raw.extend(solved_response.headers.raw)",
            )

    def write_sending(self) -> None:
        """Adds the lines that send the answer and run the background tasks."""
        source = self._source
        if self._serialization.is_plain:
            with source.block("if response is None:"):
                self._write_messages()
            head = "else:"
        else:
            head = "if True:"
        with source.block(head):
            source.add(f"sender = {source.use(runtime.Sender)}(send)")
            source.add("await response(scope, receive, sender)")

    def _write_messages(self) -> None:
        source = self._source
        length = "(b'content-length', b'%d' % len(content))"
        kind = "(b'content-type', b'application/json')"
        more = ", *solved_response.headers.raw" if self._has_solved_response else ""
        status = "status" if self._has_solved_response else str(self._serialization.status_code or 200)
        source.add(
            "is_started = True",
            f"headers = [{length}, {kind}{more}]",
            f"await send({{'type': 'http.response.start', 'status': {status}, 'headers': headers}})",
            "await send({'type': 'http.response.body', 'body': content})",
        )
        if self._tasks != "None":
            source.add("await tasks()")


_render_json = JSONResponse(None).render
