"""Does once, when an application is loaded, what FastAPI repeats for each request.

The names are imported at their first use: who asks for `compiler.loading` alone may have no FastAPI.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coachman.compiler.application import compile_app
    from coachman.compiler.counts import COUNTS, Counts
    from coachman.compiler.report import Report, RouteReport

__all__ = ["COUNTS", "Counts", "Report", "RouteReport", "compile_app"]

_MODULES = {"COUNTS": "counts", "Counts": "counts", "Report": "report", "RouteReport": "report"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "compile_app":
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    try:
        return importlib.import_module(f"{__name__}.application").compile_app
    except Exception as error:  # noqa: BLE001 - what a tool has put in the place of a class may raise anything
        importlib.import_module("fastapi")  # without it there is nothing to compile, and nothing to say
        return importlib.import_module(f"{__name__}.unknown").leave_all(error)
