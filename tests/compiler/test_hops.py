"""Synchronous calls that follow one another run in one thread, and are what they were in several."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Annotated, Any

import anyio.to_thread
import pytest
from fastapi import Depends, FastAPI
from starlette.responses import PlainTextResponse

from coachman.compiler import compile_app
from tests.compiler.exchange import Call, Journal, compare, exchange


def test_one_hop_for_dependencies_endpoint_and_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = []
    run_sync = anyio.to_thread.run_sync

    async def counting(*arguments: Any, **options: Any) -> Any:
        hops.append(arguments[0])
        return await run_sync(*arguments, **options)

    app = FastAPI()

    def session() -> int:
        return 1

    def user(session: Annotated[int, Depends(session)]) -> int:
        return session + 1

    @app.get("/")
    def read(user: Annotated[int, Depends(user)]) -> int:
        return user

    compile_app(app)
    monkeypatch.setattr(anyio.to_thread, "run_sync", counting)

    assert exchange(app, Call(), []).messages[1]["body"] == b"2"
    assert len(hops) == 1


def test_each_call_has_a_context_of_its_own_and_failures_are_the_same() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    def factory(journal: Journal) -> FastAPI:
        app = FastAPI()

        def first(fail: str = "") -> str:
            journal.append(variable.get())
            variable.set("first")
            if fail == "first":
                raise LookupError(fail)
            return "first"

        def second(first: Annotated[str, Depends(first)], fail: str = "") -> str:
            journal.append(variable.get())
            variable.set("second")
            if fail == "second":
                raise StopIteration(fail)
            return first + " second"

        @app.get("/")
        def read(second: Annotated[str, Depends(second)], fail: str = "") -> int:
            journal.append(variable.get())
            return {
                "endpoint": 1 / 0 if fail == "endpoint" else 0,
                "wrong": "x",
                "plain": PlainTextResponse("p"),
            }.get(
                fail,
                5,
            )  # type: ignore[return-value]

        return app

    compare(
        factory,
        *(Call(query=f"fail={kind}".encode()) for kind in ("", "first", "endpoint", "wrong", "plain")),
    )


def test_nothing_is_called_any_more_once_the_request_is_cancelled() -> None:
    called: list[str] = []
    is_running, may_end = threading.Event(), threading.Event()
    app = FastAPI()

    def first() -> None:
        called.append("first")
        is_running.set()
        may_end.wait(10)

    @app.get("/", dependencies=[Depends(first)])
    def read() -> None:
        called.append("endpoint")

    compile_app(app)

    async def run() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "root_path": "",
        }

        async def send(message: Any) -> None: ...

        task = asyncio.ensure_future(app(scope, send, send))
        await asyncio.to_thread(is_running.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_end.set()
        await asyncio.sleep(0.2)

    asyncio.run(run())
    assert called == ["first"]
