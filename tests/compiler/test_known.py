"""What FastAPI, Starlette and pydantic are known by, and what happens when they are not."""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi.dependencies.utils
import fastapi.routing
import pytest
import starlette.middleware.errors
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from coachman.compiler import COUNTS, compile_app, known, loading, places, unknown
from tests.compiler.conformance.suites import OLDER, locked
from tests.compiler.exchange import Call, exchange


def simple_app() -> FastAPI:
    app, router = FastAPI(), APIRouter()

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    async def session() -> Any:
        yield 1

    @router.get("/session")
    async def with_session(one: int = Depends(session)) -> int:
        return one

    app.include_router(router)
    return app


def compiled_requests(app: FastAPI, path: str) -> int:
    before = COUNTS.compiled
    assert exchange(app, Call(path=path), []).messages[0]["status"] == 200
    return COUNTS.compiled - before


@pytest.fixture
def unpatched() -> Iterator[None]:
    yield
    known.functions()  # forgets what a test has patched


def test_the_locked_versions_are_known() -> None:
    functions = known.Functions()

    assert not functions.reasons(), "run make test-compiler, and with ARGS=--learn once it passes"


@pytest.mark.parametrize("version", [*OLDER, locked("fastapi")])
def test_each_supported_version_is_known_by_all_its_functions(version: str) -> None:
    table = {name: hashes for name, hashes in known.read().items() if name.startswith("fastapi")}
    having = {
        name: [hashed for hashed, versions in hashes.items() if version in versions.split()]
        for name, hashes in table.items()
    }
    listed = {f"{module}:{name}" for group in places.PLACES for module, name in places.places(group)}

    assert having.keys() == {name for name in listed if name.startswith("fastapi")}
    assert {name for name, hashes in having.items() if len(hashes) != 1} == set()


def test_functions_of_two_versions_are_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is known, and nobody has tested them together."""
    name = "fastapi.dependencies.utils:_solve_generator"
    fingerprints = known.read()
    fingerprints[name] = dict.fromkeys(fingerprints[name], "0.1.0")
    changed = tmp_path / "fingerprints.json"
    changed.write_text(json.dumps(fingerprints))
    monkeypatch.setattr(known, "FINGERPRINTS", changed)

    reasons = known.Functions().reasons()

    assert list(reasons) == ["fastapi.dependencies.utils._solve_generator is of a version that is not known"]


def test_a_function_that_should_not_be_there_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = known.read()
    fingerprints["fastapi.routing:request_response"] = {"absent": fastapi.__version__}
    changed = tmp_path / "fingerprints.json"
    changed.write_text(json.dumps(fingerprints))
    monkeypatch.setattr(known, "FINGERPRINTS", changed)

    assert list(known.Functions().reasons()) == [
        "fastapi.routing.request_response is of a version that is not known"
    ]


@pytest.mark.usefixtures("unpatched")
def test_a_function_that_has_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fastapi.routing, "_route_selected")

    assert list(known.Functions().reasons()) == ["fastapi.routing._route_selected is not there"]


def test_a_version_that_is_not_known_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = json.loads(known.FINGERPRINTS.read_text())
    fingerprints["fastapi.dependencies.utils:_solve_generator"] = {"another": "0.165.0"}
    changed = tmp_path / "fingerprints.json"
    changed.write_text(json.dumps(fingerprints))
    monkeypatch.setattr(known, "FINGERPRINTS", changed)
    monkeypatch.setattr(known, "_functions", None)

    app = simple_app()
    report = compile_app(app)
    monkeypatch.setattr(known, "_functions", None)

    assert {route.path: route.is_compiled for route in report.routes if route.kind == "api"} == {
        "/plain": True,
        "/session": False,
    }
    assert report.notices == ["fastapi.dependencies.utils._solve_generator is of a version that is not known"]


@pytest.mark.usefixtures("unpatched")
def test_a_function_that_a_tool_has_replaced_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = fastapi.routing.run_endpoint_function

    @functools.wraps(original)
    async def traced(**options: Any) -> Any:
        return await original(**options)

    monkeypatch.setattr(fastapi.routing, "run_endpoint_function", traced)
    report = compile_app(simple_app())

    assert report.compiled == 0
    assert len(report.notices) == 1
    assert "fastapi.routing.run_endpoint_function is replaced by" in report.notices[0]
    assert __file__ in report.notices[0]


class Proxy:
    """Claims to be what it wraps, as the wrappers of Datadog, New Relic and Elastic do."""

    def __init__(self, wrapped: Any) -> None:
        self.__wrapped__ = wrapped

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return type(self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return (
            functools.partial(self.__wrapped__, instance) if instance is not None else Proxy(self.__wrapped__)
        )

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__wrapped__(*arguments, **options)


@pytest.mark.usefixtures("unpatched")
@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (fastapi.routing, "serialize_response"),
        (fastapi.routing.APIRoute, "handle"),
        (fastapi.routing, "get_request_handler"),
    ],
)
def test_a_wrapper_that_claims_to_be_the_function_is_noticed(
    holder: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, name, Proxy(vars(holder)[name]))
    report = compile_app(simple_app())

    assert report.compiled == 0
    assert f"{name} is replaced by {__name__}.Proxy" in report.notices[0]
    assert {route.path for route in report.routes if route.kind == "api"} == {"/plain", "/session"}


def test_a_function_that_is_replaced_before_the_compiler_is_imported_is_named() -> None:
    """An error reporter is set up by the application, which is loaded first."""
    program = """
import fastapi.routing
def replaced(**options): return original(**options)
original, fastapi.routing.get_request_handler = fastapi.routing.get_request_handler, replaced
fastapi.routing.request_response = lambda handler: handler
app = fastapi.FastAPI()
app.get("/")(lambda: 1)
from coachman.compiler.loading import announce, compile_loaded
import logging
logging.basicConfig()
announce(compile_loaded(app, "auto"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "Routes are left to FastAPI: fastapi.routing." in done.stderr


def test_a_fastapi_without_what_the_compiler_builds_on_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    compile_nothing = unknown.leave_all(ImportError("cannot import name 'x' from 'fastapi' (/a/path.py)"))
    report = compile_nothing(FastAPI())
    loading.announce(report)

    assert report.compiled == 0
    assert "is of a version that is not known: cannot import name 'x' from 'fastapi'" in caplog.text
    assert report.why_incomplete() == report.reason


@pytest.mark.usefixtures("unpatched")
def test_a_function_that_is_replaced_before_the_first_request_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    app = simple_app()
    compile_app(app)
    original = fastapi.routing.get_request_handler
    seen = []

    def traced(**options: Any) -> Any:
        handler = original(**options)

        async def handle(request: Any) -> Any:
            seen.append(request.url.path)
            return await handler(request)

        return handle

    monkeypatch.setattr(fastapi.routing, "get_request_handler", traced)

    assert compiled_requests(app, "/session") == 0
    assert seen == ["/session"]


@pytest.mark.usefixtures("unpatched")
def test_a_function_that_is_replaced_while_requests_come_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = simple_app()
    compile_app(app)
    assert compiled_requests(app, "/plain") == 1

    original = fastapi.dependencies.utils._solve_generator
    monkeypatch.setattr(fastapi.dependencies.utils, "_solve_generator", functools.partial(original))

    assert sum(compiled_requests(app, "/plain") for _ in range(200)) < 130
    assert compiled_requests(app, "/plain") == 0
    (line,) = [record.getMessage() for record in caplog.records if record.name == "coachman.compiler"]
    assert "fastapi.dependencies.utils._solve_generator is replaced by functools.partial" in line


@pytest.mark.usefixtures("unpatched")
def test_middleware_that_a_tool_has_replaced_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    original = starlette.middleware.errors.ServerErrorMiddleware.__call__
    seen = []

    async def traced(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await original(self, scope, receive, send)

    monkeypatch.setattr(starlette.middleware.errors.ServerErrorMiddleware, "__call__", traced)
    app = simple_app()
    compile_app(app)

    assert compiled_requests(app, "/plain") == 1
    assert seen == ["/plain"]


def test_a_route_that_handles_requests_by_itself_is_left_and_those_after_it_are_compiled() -> None:
    seen = []

    class Buffering(APIRoute):
        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await super().handle(scope, receive, send)

    app, router = FastAPI(), APIRouter(route_class=Buffering)
    router.get("/own")(lambda: 1)
    app.include_router(router)
    app.get("/after")(lambda: 2)
    report = compile_app(app)

    compiled = {route.path: route.is_compiled for route in report.routes if route.kind == "api"}
    assert compiled == {"/own": False, "/after": True}
    assert not report.reason
    assert (compiled_requests(app, "/after"), compiled_requests(app, "/own")) == (1, 0)
    assert seen == ["/own"]


def test_routes_can_be_left_to_fastapi_by_name() -> None:
    app = simple_app()
    report = compile_app(app, leave=["/plain", "with_session"])

    assert report.compiled == 0
    assert not report.why_incomplete()
    assert compiled_requests(app, "/plain") == 0


def test_what_is_not_fastapi_is_left_alone() -> None:
    async def raw(scope: Any, receive: Any, send: Any) -> None: ...

    report = compile_app(raw)

    assert "is not a FastAPI application" in report.reason
    assert report.why_incomplete()


class Framework:
    """Of another kind, with names that Starlette has too."""

    def routes(self) -> list[str]:
        return []

    @property
    def app(self) -> Any:
        raise RuntimeError("not started")


def test_what_has_routes_or_an_app_of_another_kind_is_left_alone() -> None:
    report = compile_app(Framework())

    assert report.reason == "it could not be compiled: RuntimeError: not started"


def test_an_application_is_compiled_once() -> None:
    app = simple_app()
    compile_app(app)
    report = compile_app(app)

    assert report.reason == "the application is compiled already"
    assert compiled_requests(app, "/plain") == 1


def test_the_source_of_a_route_is_found_by_path_and_by_name() -> None:
    report = compile_app(simple_app())

    for name in ("/plain", "GET /plain", "plain"):
        assert "async def handler(" in (report.source_of(name) or "")
    assert report.source_of("none") is None
