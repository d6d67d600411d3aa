"""What not every supported version of FastAPI has, and what to use in its place where it is absent.

The compiler is written for all supported versions at once: it asks for nothing but what stands here, and
never for a version. What a version lacks is a function that does nothing there, or a class that nothing is
of. That all functions together are those of one version that was tested is what `known` makes sure of.
"""

from __future__ import annotations

import importlib
from typing import Any

from fastapi._compat import ModelField
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from starlette.types import ASGIApp, Scope


def _optional(module: str, name: str) -> Any:
    """Returns what a module has under a name; None if there is no such name, or no such module."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None


# Limits of forms (FastAPI 0.165)

_apply_form_limits = _optional("fastapi.routing", "_apply_router_form_limits")
_resolve_form_limits = _optional("fastapi.routing", "_resolve_form_limits")


def form_limits_of(router: Any) -> Any:
    """Returns the limits that a router, or the inclusion of one, sets; empty if none."""
    return getattr(router, "form_limits", None) or {}


def apply_form_limits(scope: Scope, limits: Any) -> None:
    """Writes limits, which are not empty, into the scope of a request, as FastAPI's routers do."""
    _apply_form_limits(scope, limits)


def resolve_form_limits(fastapi_scope: dict[str, Any], overrides: Any) -> dict[str, Any]:
    """Returns the options with which FastAPI would call Request.form(). `overrides`: those of the route."""
    limits: dict[str, Any] = (
        _resolve_form_limits(fastapi_scope, overrides) if _resolve_form_limits is not None else {}
    )
    return limits


# Limits of bodies (FastAPI 0.164)

AppBodyLimitMiddleware = _optional("fastapi._body_limit", "AppBodyLimitMiddleware")
BodyLimitExceptionMiddleware = _optional("fastapi._body_limit", "_BodyLimitExceptionMiddleware")
RequestBodyLimitMiddleware = _optional("fastapi._body_limit", "RequestBodyLimitMiddleware")
MAX_BODY_SIZE_SCOPE_KEY = _optional("fastapi._body_limit", "MAX_BODY_SIZE_SCOPE_KEY")
_wrap_app_with_body_limit = _optional("fastapi._body_limit", "wrap_app_with_body_limit")


def wrap_app_with_body_limit(app: ASGIApp, limit: int | None) -> ASGIApp:
    """Returns the application with FastAPI's limit of the body around it, if there is one (bytes)."""
    if limit is None:
        return app
    wrapped: ASGIApp = _wrap_app_with_body_limit(app, limit)
    return wrapped


# Limits of concurrency of dependencies (FastAPI 0.163)


def concurrency_of(dependant: Dependant) -> Any:
    """Returns what limits how many calls of a dependency run at a time; None if nothing does."""
    return getattr(dependant, "concurrency", None)


# Exits of dependencies with `yield` that a cancelled request does not interrupt (FastAPI 0.162)

GENERATORS_TAKE_REQUEST = (
    _optional("fastapi.dependencies.utils", "_asynccontextmanager_with_shielded_exit") is not None
)

# Unions of models as forms, each with fields of its own (FastAPI 0.161)

_get_form_models = _optional("fastapi.dependencies.utils", "_get_form_models")


def form_models(field: ModelField) -> list[Any]:
    """Returns the models whose fields stand in a form as they are; none for a field of its own."""
    if _get_form_models is not None:
        models: list[Any] = _get_form_models(field)
        return models
    model = utils._get_form_model(field)
    return utils._get_form_union_models(field.field_info.annotation) if model is None else [model]
