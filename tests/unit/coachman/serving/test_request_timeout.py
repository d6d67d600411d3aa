import asyncio
import contextlib
import json
from typing import Any

import pytest

from coachman.serving.request_timeout import RequestTimeout

REQUEST = {"type": "http", "method": "GET", "path": "/slow"}


def answered(
    application: Any, seconds: float = 0.05, scope: dict[str, Any] = REQUEST
) -> list[dict[str, Any]]:
    """What a request through the timeout is answered with, once everything has ended."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def ask() -> None:
        await RequestTimeout(application, seconds)(scope, receive, send)
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(ask())
    return sent


def test_a_handler_in_time_is_answered_as_it_says() -> None:
    async def prompt(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    assert [message["type"] for message in answered(prompt)] == ["http.response.start", "http.response.body"]


def test_a_late_handler_is_cancelled_and_its_client_gets_504() -> None:
    cancelled = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            await send({"type": "http.response.start", "status": 200})  # too late: not sent
            raise

    start, body = answered(late)

    assert cancelled
    assert start["status"] == 504
    assert json.loads(body["body"])["detail"] == "The request was not answered within 0.05 seconds."


def test_an_answer_that_has_begun_may_take_longer() -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await asyncio.sleep(0.15)
        await send({"type": "http.response.body", "body": b"whole"})

    assert answered(stream)[-1]["body"] == b"whole"


def test_a_handler_that_raises_still_raises() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("in the handler")

    with pytest.raises(KeyError, match="in the handler"):
        answered(broken)


def test_a_websocket_has_no_deadline() -> None:
    async def chat(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.15)
        await send({"type": "websocket.close"})

    assert answered(chat, scope={"type": "websocket", "path": "/"}) == [{"type": "websocket.close"}]


def test_a_thread_that_nothing_can_cancel_does_not_keep_its_client_waiting() -> None:
    """Its request ends when the thread does; the answer is there long before."""
    order = []
    is_answered = asyncio.Event()

    async def in_a_thread(scope: Any, receive: Any, send: Any) -> None:
        work = asyncio.ensure_future(is_answered.wait())
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(work)
        order.append("thread")

    async def ask() -> None:
        async def send(message: dict[str, Any]) -> None:
            order.append(message["type"])
            if message["type"] == "http.response.body":
                is_answered.set()

        await RequestTimeout(in_a_thread, 0.05)(REQUEST, None, send)  # type: ignore[arg-type]
        await asyncio.sleep(0)  # no cancellation is left over

    asyncio.run(asyncio.wait_for(ask(), 60))
    assert order == ["http.response.start", "http.response.body", "thread"]


def test_a_handler_that_fails_while_it_is_cancelled_costs_a_line_and_not_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise KeyError("while it was cancelled")

    assert answered(failing)[0]["status"] == 504
    assert "while it was cancelled" in caplog.text


def test_a_cancellation_by_somebody_else_goes_through() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def ask() -> None:
        task = asyncio.ensure_future(RequestTimeout(slow, 30)(REQUEST, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())


def test_a_request_in_time_makes_no_task() -> None:
    tasks = []

    async def prompt(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(len(asyncio.all_tasks()))
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        tasks.append(len(asyncio.all_tasks()))

    answered(prompt)
    assert tasks == [1, 1]
