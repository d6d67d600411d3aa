"""Leaves applications alone where FastAPI has not what the compiler builds on."""

from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import Any

from coachman.compiler.report import Report


def leave_all(error: ImportError) -> Callable[..., Report]:
    """Returns a compile_app() that compiles nothing. `error`: what was looked for and is not there."""
    reason = f"FastAPI {version('fastapi')} is of a version that is not known: {error.msg.partition(' (')[0]}"

    def compile_app(app: Any, *, leave: Collection[str] = ()) -> Report:
        return Report(reason=reason, notices=[reason])

    return compile_app
