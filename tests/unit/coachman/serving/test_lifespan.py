import asyncio
import contextlib
import json
import logging
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from coachman.serving.lifespan import Lifespan, describe, is_starlette, place_of


def lived(application: Any, *, dies: bool = False) -> tuple[Lifespan, list[str]]:
    """An application's lifespan from its start to its shutdown, and what ended it in between.

    Where it `dies`, it is told to shut down once it has.
    """
    ends: list[str] = []

    async def live() -> Lifespan:
        config = uvicorn.Config(application, log_config=None, interface="asgi3")
        lifespan = Lifespan(config, application, ends.append)
        await lifespan.startup()
        if not lifespan.should_exit:
            await asyncio.sleep(0.05)
            async with asyncio.timeout(60):
                while dies and not ends:
                    await asyncio.sleep(0.01)
            await lifespan.shutdown()
        return lifespan

    return asyncio.run(live()), ends


def with_lifespan(body: Callable[[], Awaitable[None]], *, after: bool = False) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not after:
            await body()
        yield
        if after:
            await body()

    return FastAPI(lifespan=lifespan)


async def fail_in_a_group() -> None:
    async def lose_the_broker() -> None:
        raise RuntimeError("cannot reach the broker")

    async with asyncio.TaskGroup() as group:
        group.create_task(lose_the_broker())


async def raise_exit() -> None:
    sys.exit("no licence file")


async def raise_exit_with_a_code() -> None:
    sys.exit(7)


async def interrupt() -> None:
    raise KeyboardInterrupt("interrupted by itself")


async def cancel() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (fail_in_a_group, "cannot reach the broker"),
        (raise_exit, "no licence file"),
        (raise_exit_with_a_code, "exit with code 7"),
        (interrupt, "interrupted by itself"),
        (cancel, "it was cancelled"),
    ],
)
def test_the_cause_of_a_failed_start_up_is_told_with_its_place(
    body: Callable[[], Awaitable[None]], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    lifespan, ends = lived(with_lifespan(body))

    assert lifespan.should_exit
    assert ends == []
    [line] = [record.getMessage() for record in caplog.records if record.name == "coachman.serving"]
    assert line.startswith(f"The application failed: {cause} ({__file__}:")


async def is_no_context_manager(app: FastAPI) -> None: ...


@contextlib.asynccontextmanager
async def yields_never(app: FastAPI) -> AsyncIterator[None]:
    if app is None:
        yield


@pytest.mark.parametrize("lifespan", [is_no_context_manager, yields_never])
def test_a_lifespan_that_is_none_is_told_what_one_is(lifespan: Any, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it was never awaited
        assert lived(FastAPI(lifespan=lifespan))[0].should_exit

    assert (
        "a lifespan is an async function with one yield, under contextlib.asynccontextmanager" in caplog.text
    )


def test_a_function_that_is_not_async_is_a_failed_start(caplog: pytest.LogCaptureFixture) -> None:
    """It would be ready, and answer each request with 500."""

    def application(scope: object, receive: object, send: object) -> None: ...

    lifespan, _ = lived(application)

    assert lifespan.should_exit
    [line] = [record.getMessage() for record in caplog.records if record.name == "coachman.serving"]
    assert line.startswith(
        "The application failed: it cannot be called as ASGI has it, by an await with scope,"
    )
    assert "/coachman/" not in line


async def fail_in_a_package() -> None:
    json.loads("{")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("no disk\n(Background on this error at: https://example.com)"), "no disk"),
        (UnspeakableError(), "UnspeakableError"),
        (KeyError("DATABASE_URL"), "'DATABASE_URL'"),
        (OSError(), "OSError"),
    ],
)
def test_the_cause_is_one_line_whatever_the_error_says(error: Exception, said: str) -> None:
    assert describe(error) == said


def test_the_place_of_a_failure_is_the_applications_own(caplog: pytest.LogCaptureFixture) -> None:
    """Where it called the package that raised; a package's own place helps nobody."""
    lived(with_lifespan(fail_in_a_package))

    assert f"({__file__}:{fail_in_a_package.__code__.co_firstlineno + 1})" in caplog.text


def test_a_failure_within_packages_alone_has_the_place_in_them() -> None:
    frames = [
        traceback.FrameSummary("/venv/lib/python3.11/site-packages/shop/main.py", 3, "f"),
        traceback.FrameSummary("/venv/lib/python3.11/site-packages/redis/client.py", 9, "g"),
    ]

    assert place_of(frames) is frames[1]
    assert place_of([traceback.FrameSummary("/usr/src/app/main.py", 5, "f"), *frames]).lineno == 5  # type: ignore[union-attr]
    assert place_of([]) is None


def test_a_lifespan_that_dies_after_the_start_up_is_told_of() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def consume() -> None:
            await asyncio.sleep(0.01)
            raise RuntimeError("the consumer lost its broker")

        async with asyncio.TaskGroup() as group:
            group.create_task(consume())
            yield

    started, ends = lived(FastAPI(lifespan=lifespan), dies=True)

    assert not started.should_exit
    assert len(ends) == 1
    assert ends[0].startswith(f"the consumer lost its broker ({__file__}:")


def test_a_lifespan_that_ends_when_it_is_told_to_is_no_death() -> None:
    async def nothing() -> None: ...

    assert lived(with_lifespan(nothing))[1] == []


def test_a_shutdown_that_fails_is_told_and_is_no_death(caplog: pytest.LogCaptureFixture) -> None:
    _, ends = lived(with_lifespan(fail_in_a_group, after=True))

    assert ends == []
    assert "The application failed: cannot reach the broker" in caplog.text


class Tenant:
    """Middleware that does not look at the type of a scope."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        dict(scope["headers"])
        await self.app(scope, receive, send)


def test_middleware_of_a_fastapi_application_that_breaks_its_lifespan_is_a_failed_start() -> None:
    inside = FastAPI()
    inside.add_middleware(Tenant)

    assert lived(inside)[0].should_exit
    assert lived(Tenant(FastAPI()))[0].should_exit


def test_an_application_without_a_lifespan_is_served_and_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("headers")

    lifespan, ends = lived(plain)

    assert not lifespan.should_exit
    assert ends == []
    [line] = [record for record in caplog.records if record.name == "coachman.serving"]
    assert line.levelno == logging.WARNING
    assert "is served without its lifespan, which raised: 'headers' (" in line.getMessage()


def test_an_application_that_takes_the_message_and_raises_has_failed() -> None:
    async def knowing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise OSError("no disk")

    assert lived(knowing)[0].should_exit


def test_an_application_that_returns_after_its_start_up_is_served() -> None:
    async def brief(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    lifespan, ends = lived(brief)
    assert not lifespan.should_exit
    assert ends == []


def test_a_group_of_many_is_cut_short() -> None:
    group = ExceptionGroup("all", [ValueError(str(number)) for number in range(5)])

    assert describe(group) == "0; 1; 2; and 2 more"
    assert describe(ExceptionGroup("outer", [group, OSError("last")])) == "0; 1; 2; and 3 more"


def test_what_a_starlette_application_is() -> None:
    assert is_starlette(FastAPI())
    assert is_starlette(Tenant(Tenant(FastAPI())))
    assert not is_starlette(Tenant(object()))
    assert not is_starlette(None)


def test_a_starlette_application_is_one_whatever_a_tool_has_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()
    monkeypatch.setattr("starlette.applications.Starlette", lambda: None)

    assert is_starlette(app)
