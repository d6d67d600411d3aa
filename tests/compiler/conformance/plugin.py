"""pytest plugin: compiles every FastAPI application of a test suite before it serves its first request.

Loaded with `-p plugin`, without the rest of Coachman, which the environment of that suite does not have.
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

from fastapi import FastAPI  # noqa: E402

from coachman.compiler import COUNTS, compile_app  # noqa: E402

_routes: Counter[str] = Counter()
_build = FastAPI.build_middleware_stack


def _compile_and_build(self: FastAPI) -> Any:
    report = compile_app(self)
    for route in report.routes:
        _routes["" if route.is_compiled else route.reason] += 1
    return _build(self)


FastAPI.build_middleware_stack = _compile_and_build  # type: ignore[method-assign]


def pytest_sessionfinish() -> None:
    """Runs in each process of pytest-xdist."""
    result = {"compiled": COUNTS.compiled, "left": COUNTS.left, "routes": _routes}
    Path(os.environ["COACHMAN_COUNTS"], f"{os.getpid()}.json").write_text(json.dumps(result))
