"""Tools replace whole classes of FastAPI and Starlette: the application starts and answers as before.

OpenTelemetry and Datadog do, before the application is imported or after it. The compiler is imported last.
"""

import json
import subprocess
import sys

import pytest

# Each case runs in a fork of its own, where the compiler has not been imported yet.
PROGRAM = """
import asyncio, importlib, json, os, sys, traceback
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
import coachman.compiler.loading

PLACES = sys.stdin.read().split()

def make(kind):
    app = kind()
    async def one(q: int = 1): return q
    @app.get("/items/{number}")
    async def read(number: int, one: int = Depends(one)) -> list[int]: return [number, one]
    return app

def replace(place, shape):
    module, _, name = place.rpartition(".")
    holder = importlib.import_module(module)
    original = getattr(holder, name)
    if shape == "function":
        def replacement(*arguments, **options): return original(*arguments, **options)
    else:
        replacement = type("Traced", (original,), {"__module__": "tool"})
    setattr(holder, name, replacement)

def answer(app):
    client = TestClient(app)
    return [(each.status_code, each.json()) for each in (client.get("/items/2?q=3"), client.get("/items/x"))]

expected = answer(make(FastAPI))
before = make(FastAPI)
for place in PLACES:
    for shape in ("class", "function"):
        sys.stdout.flush()
        if (child := os.fork()):
            os.waitpid(child, 0)
            continue
        try:
            replace(place, shape)
            import fastapi
            later = make(fastapi.FastAPI)
            counts = []
            for app in (before, later):
                report = coachman.compiler.loading.compile_loaded(app, "auto")
                assert answer(app) == expected, answer(app)
                counts.append(report.compiled)
            print(json.dumps([place, shape, counts, report.why_incomplete()]))
        except BaseException:
            print(json.dumps([place, shape, None, traceback.format_exc()]))
        sys.stdout.flush()
        os._exit(0)
"""
PLACES = """
    fastapi.FastAPI fastapi.applications.FastAPI fastapi.BackgroundTasks
    fastapi.routing.APIRoute fastapi.routing.APIRouter fastapi.routing._IncludedRouter
    fastapi.datastructures.DefaultPlaceholder
    fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware
    starlette.requests.Request starlette.responses.Response starlette.responses.JSONResponse
    starlette.routing.Route starlette.routing.WebSocketRoute
    starlette.middleware.errors.ServerErrorMiddleware
    starlette.middleware.exceptions.ExceptionMiddleware
    starlette.middleware.body_limit.RequestBodyLimitMiddleware
    starlette.datastructures.QueryParams starlette.convertors.StringConvertor
    pydantic.ValidationError
"""


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str], tuple[list[int] | None, str]]:
    """How many routes were compiled, of an application made before and of one made after; and the reason."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        input=PLACES,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(place, shape): (counts, reason) for place, shape, counts, reason in found}


@pytest.mark.parametrize("shape", ["class", "function"])
@pytest.mark.parametrize("place", PLACES.split())
def test_a_replaced_class_changes_no_answer(
    place: str, shape: str, seen: dict[tuple[str, str], tuple[list[int] | None, str]]
) -> None:
    counts, reason = seen[place, shape]

    assert counts is not None, reason
    assert counts == [1, 1] or reason


@pytest.mark.parametrize("shape", ["class", "function"])
def test_routes_are_compiled_whatever_stands_in_the_place_of_fastapis_class(
    shape: str, seen: dict[tuple[str, str], tuple[list[int] | None, str]]
) -> None:
    assert seen["fastapi.FastAPI", shape] == ([1, 1], "")
