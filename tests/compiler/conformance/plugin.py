"""pytest plugin: compiles every FastAPI application of a test suite before it serves its first request.

Loaded with `-p plugin`, without the rest of Coachman, which the environment of that suite does not have.
COACHMAN_SUITE names the suite, and whether to compile: `fastapi compiled`. Starlette's own tests are run with
FastAPI in the place of its class, with an API route at the end, so that there is something to compile.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

_package = ModuleType("coachman")  # the compiler alone: it needs nothing else of the package
_package.__path__ = [os.environ["COACHMAN_PACKAGE"]]
sys.modules["coachman"] = _package

import starlette.applications  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from starlette.applications import Starlette  # noqa: E402

from coachman.compiler import COUNTS, compile_app  # noqa: E402

_suite, _mode = os.environ["COACHMAN_SUITE"].split()
_routes: Counter[str] = Counter()
_call = Starlette.__call__


async def _compile_and_call(self: Starlette, scope: Any, receive: Any, send: Any) -> None:
    if self.middleware_stack is None and isinstance(self, FastAPI):
        report = compile_app(self)
        for route in report.routes:
            _routes["" if route.is_compiled else route.reason] += 1
        if not report.routes:
            _routes[report.reason] += 1
    await _call(self, scope, receive, send)


class _AsStarlette(FastAPI):
    """FastAPI without what it adds to Starlette."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        names = ("debug", "routes", "middleware", "exception_handlers", "lifespan")
        given = dict(zip(names, arguments, strict=False)) | options
        super().__init__(**given, openapi_url=None)
        self.exception_handlers = dict(given.get("exception_handlers") or {})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.middleware_stack is None:
            self.add_api_route("/compiled-for-coachman", _nothing)
        await super().__call__(scope, receive, send)


async def _nothing() -> None: ...


if _mode == "compiled":
    # Before the layers are built, and not in the place of a function that the compiler stands in for.
    Starlette.__call__ = _compile_and_call  # type: ignore[method-assign]
if _suite == "starlette":
    starlette.applications.Starlette = _AsStarlette  # type: ignore[misc]


def pytest_sessionfinish() -> None:
    """Runs in each process of pytest-xdist."""
    result = {"compiled": COUNTS.compiled, "left": COUNTS.left, "routes": _routes}
    Path(os.environ["COACHMAN_COUNTS"], f"{os.getpid()}.json").write_text(json.dumps(result))
