"""What the compiler costs: memory and time for each route, and nothing more a request for more routes."""

import asyncio
import gc
import sys
import time
import tracemalloc
import weakref
from typing import Any

import pytest
from fastapi import FastAPI

from benchmarks import compiler_apps
from benchmarks.compiler import measure
from coachman.compiler import COUNTS, compile_app

ROUTES = 400
LIMIT_BYTES = 2 * 2**20
LIMIT_SECONDS = 1.0


def made(count: int) -> FastAPI:
    app = compiler_apps.many(count)
    for route in app.routes:
        if hasattr(route, "effective_candidates"):
            route.effective_candidates()  # FastAPI would make these at the first request
    return app


def steps(app: FastAPI, path: str, requests: int) -> int:
    """Returns how many lines of Python run for some requests."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    asyncio.run(measure(app, "GET", path, b"", 1))
    sys.settrace(trace)
    try:
        asyncio.run(measure(app, "GET", path, b"", requests))
    finally:
        sys.settrace(None)
    return lines


def test_400_routes_take_less_than_two_mebibytes() -> None:
    compile_app(compiler_apps.trivial())  # reads the fingerprints, once in a process
    app = made(ROUTES)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        report = compile_app(app)
        gc.collect()
        spent = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert report.compiled == ROUTES
    assert spent < LIMIT_BYTES


def test_nothing_keeps_an_application_that_is_no_longer_used() -> None:
    app = made(20)
    compile_app(app)
    steps(app, compiler_apps.last_path(20), 1)
    gone = weakref.ref(app)
    del app
    gc.collect()

    assert gone() is None


@pytest.mark.timing
def test_400_routes_are_compiled_in_a_second() -> None:
    compile_app(compiler_apps.trivial())
    app = made(ROUTES)
    began = time.process_time()
    compile_app(app)

    assert time.process_time() - began < LIMIT_SECONDS


def test_the_last_of_1000_routes_takes_the_steps_of_the_last_of_20() -> None:
    found = {}
    for count in (20, 200, 1000):
        app = made(count)
        compile_app(app)
        before = COUNTS.compiled
        found[count] = steps(app, compiler_apps.last_path(count), 130)
        assert COUNTS.compiled > before + 130

    assert max(found.values()) <= 1.05 * min(found.values()), found
