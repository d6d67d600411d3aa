"""The master compiles what it has loaded, as COACHMAN_COMPILE says."""

import logging

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from coachman.asgi import Message, Receive, Send
from coachman.compiler.loading import announce, compile_loaded
from coachman.settings import ServerSettings


class OwnRoute(APIRoute):
    async def handle(self, scope: Message, receive: Receive, send: Send) -> None:
        await super().handle(scope, receive, send)


def make() -> FastAPI:
    app = FastAPI()

    @app.get("/items")
    async def items() -> list[int]:
        return []

    return app


def test_auto_compiles_and_says_so_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        announce(compile_loaded(make(), "auto"))

    assert "1 of 1 routes of FastAPI's are compiled" in caplog.text


def test_an_application_without_routes_of_fastapis_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI(openapi_url=None)
    app.router.routes.append(Route("/", lambda request: None))
    with caplog.at_level(logging.INFO):
        announce(compile_loaded(app, "auto"))

    assert caplog.messages == ["None of the routes is FastAPI's own, so none is compiled"]


def test_off_leaves_the_application_alone() -> None:
    app = make()
    stack = app.router.middleware_stack

    assert compile_loaded(app, "off") is None
    assert app.router.middleware_stack == stack


def test_require_refuses_what_cannot_be_compiled_in_one_sentence() -> None:
    app = make()
    app.router.route_class = OwnRoute

    @app.get("/own")
    async def own() -> str:
        return "own"

    with pytest.raises(SystemExit, match=r"COACHMAN_COMPILE=require is refused: .*OwnRoute"):
        compile_loaded(app, "require")


def test_require_allows_what_is_left_on_purpose() -> None:
    report = compile_loaded(make(), "require", leave=["/items"])

    assert report is not None
    assert report.compiled == 0


def test_the_routes_to_leave_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_COMPILE_LEAVE", "/items, read_item")

    assert ServerSettings().compile_leave == ("/items", "read_item")
