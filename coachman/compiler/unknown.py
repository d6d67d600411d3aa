"""Leaves applications alone where FastAPI has not what the compiler builds on, or a tool has replaced it."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import Any

from coachman.compiler.report import Report


def leave_all(error: Exception) -> Callable[..., Report]:
    """Returns a compile_app() that compiles nothing. `error`: why the compiler could not be imported."""
    reason = f"FastAPI {version('fastapi')} {_flaw(error)}"

    def compile_app(app: Any, *, leave: Collection[str] = ()) -> Report:
        return Report(reason=reason, notices=[reason])

    return compile_app


def _flaw(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"is of a version that is not known: {error.msg.partition(' (')[0]}"
    return f"is not as it was installed, a tool has replaced parts of it: {type(error).__name__}: {error}"
