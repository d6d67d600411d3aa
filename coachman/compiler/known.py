"""Compares the functions that the compiler stands in for with those that it was proven against.

Each function has a fingerprint of its source. A version of FastAPI, Starlette or pydantic whose function
reads otherwise is not known, and one that somebody has put another function in the place of (tracing and
error reporting do) is patched: in both cases the routes concerned are left to FastAPI.

`make test-compiler ARGS=--learn` adds the fingerprints of what is installed, once FastAPI's own tests pass.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import sys
import tokenize
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from fastapi import concurrency

EVERY_ROUTE = "every route"
GENERATORS = "dependencies with yield"
FORMS = "forms"
LAYERS = "middleware"

_CONTEXT_MANAGER: CodeType = concurrency.contextmanager_in_threadpool.__code__  # contextlib's wrapper
_PACKAGES = ("fastapi", "opentelemetry", "pydantic", "starlette")

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")

# Where FastAPI looks a function up, by what a route has to use to be concerned.
_PLACES: dict[str, str] = {
    EVERY_ROUTE: """
        fastapi.routing: request_response get_request_handler run_endpoint_function serialize_response
        fastapi.routing: _build_response_args _extract_endpoint_context _update_scope
        fastapi.routing: _get_fastapi_scope _apply_router_form_limits _resolve_form_limits
        fastapi.routing: solve_dependencies wrap_app_handling_exceptions run_in_threadpool jsonable_encoder
        fastapi.routing: is_body_allowed_for_status_code get_route_path wrap_app_with_body_limit
        fastapi.routing: get_telemetry_data _operation _run_sync_endpoint _route_selected
        fastapi.routing: _populate_api_route_state _build_dependant_with_parameterless_dependencies
        fastapi.routing: APIRoute.matches APIRoute.handle APIRoute.get_route_handler
        fastapi.routing: APIRouter.app APIRouter.handle APIRouter.matches APIRouter._get_routes_version
        fastapi.routing: _EffectiveRouteContext.matches _EffectiveRouteContext.from_api_route
        fastapi.routing: _IncludedRouter.effective_candidates _IncludedRouter._build_effective_context
        fastapi.routing: _IncludedRouter._match _IncludedRouter.matches _IncludedRouter.handle
        fastapi.routing: _IncludedRouter._handle_selected
        fastapi.middleware.asyncexitstack: AsyncExitStackMiddleware.__call__
        fastapi.dependencies.utils: solve_dependencies request_params_to_args request_body_to_args
        fastapi.dependencies.utils: _get_multidict_value _validate_value_with_model_field
        fastapi.dependencies.utils: _get_param_aliases _get_param_model _is_json_field
        fastapi.dependencies.utils: _should_embed_body_fields _get_form_models run_in_threadpool
        fastapi.dependencies.utils: _get_cache_key _get_oauth_scopes
        fastapi.dependencies.utils: _is_gen_callable _is_async_gen_callable _is_coroutine_callable
        fastapi.dependencies.models: _get_cache_key _uses_scopes _get_oauth_scopes _get_computed_scope
        fastapi._compat.v2: ModelField.validate ModelField.serialize ModelField.serialize_json
        fastapi._compat.v2: ModelField.get_default _regenerate_error_with_loc
        fastapi._compat.shared: field_annotation_is_sequence
        fastapi._body_limit: wrap_app_with_body_limit _BodyLimitExceptionMiddleware.__call__
        fastapi.background: BackgroundTasks.__call__
        pydantic.type_adapter: TypeAdapter.validate_python TypeAdapter.dump_json TypeAdapter.dump_python
        starlette.routing: Route.matches Route.handle Mount.matches Host.matches Router.__call__
        starlette.routing: compile_path get_route_path
        starlette._exception_handler: wrap_app_handling_exceptions _lookup_exception_handler
        starlette.concurrency: run_in_threadpool
        starlette.convertors: StringConvertor.convert IntegerConvertor.convert
        starlette.datastructures: QueryParams.__init__ ImmutableMultiDict.__init__ ImmutableMultiDict.getlist
        starlette.datastructures: Headers.__init__ Headers.__getitem__ Headers.getlist
        starlette.requests: cookie_parser HTTPConnection.headers HTTPConnection.query_params
        starlette.requests: HTTPConnection.cookies HTTPConnection.path_params HTTPConnection.__init__
        starlette.requests: Request.__init__ Request.stream Request.body Request.json
        starlette.responses: Response.__init__ Response.render Response.init_headers Response.__call__
        starlette.responses: JSONResponse.__init__ JSONResponse.render
        starlette.background: BackgroundTasks.__call__ BackgroundTask.__call__
    """,
    GENERATORS: """
        fastapi.dependencies.utils: _solve_generator contextmanager_in_threadpool
        fastapi.dependencies.utils: _asynccontextmanager_with_shielded_exit
        fastapi.dependencies.utils: _contextmanager_with_concurrency_limit
    """,
    LAYERS: """
        starlette.middleware.errors: ServerErrorMiddleware.__call__
        starlette.middleware.exceptions: ExceptionMiddleware.__call__
        starlette.middleware.exceptions: wrap_app_handling_exceptions
        fastapi.telemetry._asgi: ExceptionTelemetryMiddleware.__call__ NativeTelemetry.enabled
        fastapi.telemetry._api: _unconfigured
        fastapi._body_limit: AppBodyLimitMiddleware.__call__
        fastapi.middleware.asyncexitstack: AsyncExitStackMiddleware.__call__
        fastapi.applications: FastAPI.__call__ FastAPI.build_middleware_stack
        opentelemetry.trace: get_tracer_provider
        opentelemetry.metrics._internal: get_meter_provider
        opentelemetry._logs._internal: get_logger_provider
    """,
    FORMS: """
        fastapi.dependencies.utils: _extract_form_items _extract_form_body _extract_form_model
        fastapi.dependencies.utils: _read_file_bytes
        starlette.requests: Request.form Request._get_form
        starlette.datastructures: FormData.close UploadFile.close
    """,
}


def places(group: str) -> Iterator[tuple[str, str]]:
    """Yields module and name of each function of a group."""
    for line in _PLACES[group].split("\n"):
        module, _, names = line.strip().partition(": ")
        for name in names.split():
            yield module, name


def _holder(module: str, name: str) -> tuple[Any, str]:
    holder: Any = importlib.import_module(module)
    *owners, last = name.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    return holder, last


def _bare(value: Any) -> Any:
    """Returns the function of a property, a class method or a static method.

    It asks for the very types: wrappers such as wrapt's claim to be of the class of what they wrap.
    """
    if type(value) is property:
        value = value.fget
    elif type(value) in (classmethod, staticmethod):
        value = value.__func__
    if type(value) is FunctionType and value.__code__ is _CONTEXT_MANAGER:
        value = value.__wrapped__  # type: ignore[attr-defined]
    return value


@cache
def _lines(filename: str) -> list[str]:
    with tokenize.open(filename) as file:
        return file.readlines()


def fingerprint(code: CodeType) -> str:
    """Returns a hash of the source of a function. Raises OSError if there is no source."""
    block = inspect.getblock(_lines(code.co_filename)[code.co_firstlineno - 1 :])
    return hashlib.sha256("".join(block).encode()).hexdigest()[:16]


class Functions:
    """All these functions, as they are now."""

    def __init__(self) -> None:
        known = json.loads(FINGERPRINTS.read_text())
        self._reasons: dict[str, str] = {}
        self._kept: list[tuple[str, Any, str, Any, Any, CodeType | None]] = []
        for group in _PLACES:
            for module, name in places(group):
                reason = self._compare(module, name, known.get(f"{module}:{name}", ()))
                if reason:
                    self._reasons.setdefault(group, reason)
        _lines.cache_clear()

    def _compare(self, module: str, name: str, known: list[str]) -> str:
        try:
            holder, last = _holder(module, name)
            value = vars(holder)[last]
        except (ImportError, AttributeError, KeyError):
            return f"{module}.{name} is not there"
        function = _bare(value)
        code = function.__code__ if type(function) is FunctionType else None
        self._kept.append((f"{module}.{name}", vars(holder), last, value, function, code))
        if code is None:
            return f"{module}.{name} is replaced by {_place(function)}"
        homes = [getattr(sys.modules.get(name), "__file__", None) for name in (function.__module__, module)]
        if code.co_filename not in homes or function.__module__.partition(".")[0] not in _PACKAGES:
            return f"{module}.{name} is replaced by {_place(function)}"
        try:
            if fingerprint(code) in known:
                return ""
        except OSError:
            return f"the source of {module}.{name} is not there"
        return f"{module}.{name} is of a version that is not known"

    def reason_to_leave(self, groups: Iterable[str]) -> str:
        """Returns why routes that use these groups are left to FastAPI; empty if they may be compiled."""
        return next((self._reasons[group] for group in groups if group in self._reasons), "")

    def reasons(self) -> Collection[str]:
        """Returns what is not known, or replaced."""
        return self._reasons.values()

    def is_unchanged(self) -> bool:
        """Whether nobody has replaced one of them since."""
        for _, holder, name, value, function, code in self._kept:
            if holder.get(name) is not value or (code is not None and function.__code__ is not code):
                return False
        return True

    def replaced(self) -> str:
        """Returns which one somebody has replaced since, and by what; empty if none."""
        for label, holder, name, value, function, code in self._kept:
            now = _bare(holder.get(name))
            if holder.get(name) is not value or (code is not None and function.__code__ is not code):
                return f"{label} is replaced by {_place(now)}"
        return ""


def _place(function: Any) -> str:
    if type(function) is FunctionType:
        return f"{function.__module__}.{function.__qualname__} ({function.__code__.co_filename})"
    return f"{type(function).__module__}.{type(function).__qualname__}"


_functions: Functions | None = None


def functions() -> Functions:
    """Returns the functions as they are now; kept, for reading their sources takes a tenth of a second."""
    global _functions
    if _functions is None or not _functions.is_unchanged():
        _functions = Functions()
    return _functions


def write() -> None:
    """Writes the fingerprints of what is installed, beside those that are known already."""
    known: dict[str, list[str]] = json.loads(FINGERPRINTS.read_text()) if FINGERPRINTS.exists() else {}
    for group in _PLACES:
        for module, name in places(group):
            holder, last = _holder(module, name)
            new = fingerprint(_bare(vars(holder)[last]).__code__)
            known[f"{module}:{name}"] = sorted({new, *known.get(f"{module}:{name}", ())})
    FINGERPRINTS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
