"""Gives a request to an application and notes all that can be seen of the answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from fastapi import FastAPI, routing

from coachman.compiler import COUNTS, Report, compile_app

LIMIT_SECONDS = (
    300.0  # only so that nothing waits for ever: one who is waited for may have little of a processor
)

# The exit stacks are there for those who can see the scope; afterwards they are closed, and nobody's.
NOT_COMPARED = ("fastapi_inner_astack", "fastapi_function_astack", "state")

Journal = list[Any]
Factory = Callable[[Journal], FastAPI]


def supported(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Returns those of the options that the installed version of FastAPI has: older ones are tested too."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


@dataclass
class Call:
    """A request as a server hands it over."""

    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: list[bytes] = field(default_factory=lambda: [b""])  # one message for each part
    receive_error: Exception | None = None  # raised in the place of the last part
    send_error: int | None = None  # the server refuses this message of the answer, counted from 1
    root_path: str = ""
    cancel_at: int | None = None  # the client's task is cancelled at this step of the application's
    scope: dict[str, Any] = field(default_factory=dict)


@dataclass
class Seen:
    """What was sent, what was raised, and what the application's own code has noted."""

    messages: list[Any] = field(default_factory=list)
    error: list[str] = field(default_factory=list)  # with its causes and contexts
    journal: Journal = field(default_factory=list)
    scope: dict[str, str] = field(default_factory=dict)


def exchange(app: Any, call: Call, journal: Journal) -> Seen:
    """Runs one request in an event loop of its own."""
    del journal[:]
    # FastAPI keeps where an endpoint is defined by its id(), which may be that of an earlier application's.
    routing._endpoint_context_cache.clear()
    seen = Seen()
    scope = asgi_scope(call)
    asyncio.run(asyncio.wait_for(_exchange(app, call, scope, seen), LIMIT_SECONDS))
    seen.journal = list(journal)
    seen.scope = {key: _shown(value) for key, value in scope.items() if key not in NOT_COMPARED}
    return seen


def compare(factory: Factory, *calls: Call, compiled: bool | None = True) -> list[Seen]:
    """Asserts that an application does the same compiled as not; returns what was seen.

    `compiled`: whether the compiled functions must have answered at least once; None: either way.
    """
    stock_journal: Journal = []
    journal: Journal = []
    stock, app = factory(stock_journal), factory(journal)
    report = compile_app(app)
    before, result = COUNTS.compiled, []
    for call in calls:
        expected = exchange(stock, call, stock_journal)
        seen = exchange(app, call, journal)
        assert seen == expected, f"{call}\n{difference(seen, expected)}\n{sources(report)}"
        result.append(seen)
    if compiled is not None:
        assert (COUNTS.compiled > before) is compiled, report.reasons()
    return result


def difference(seen: Seen, expected: Seen) -> str:
    """Returns what is not the same, for the message of an assertion."""
    lines = []
    for one in fields(Seen):
        ours, stock = getattr(seen, one.name), getattr(expected, one.name)
        if one.name == "scope":
            keys = [key for key in {**ours, **stock} if ours.get(key) != stock.get(key)]
            ours, stock = ({key: side.get(key) for key in keys} for side in (ours, stock))
        if ours != stock:
            lines.append(f"{one.name}:\n  compiled {ours}\n  FastAPI  {stock}")
    return "\n".join(lines)


def sources(report: Report) -> str:
    """Returns what was compiled, for the message of an assertion."""
    return "\n".join(
        f"{route.methods} {route.path} {route.reason}\n{route.source}" for route in report.routes
    )


def asgi_scope(call: Call) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "method": call.method,
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": call.query,
        "root_path": call.root_path,
        "headers": list(call.headers),
        "server": ("testserver", 80),
        "client": ("testclient", 1),
        **call.scope,
    }


async def _exchange(app: Any, call: Call, scope: dict[str, Any], seen: Seen) -> None:
    parts = list(call.body)
    task: asyncio.Task[None] | None = None
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == call.cancel_at and task is not None:
            task.cancel()

    async def receive() -> dict[str, Any]:
        step()
        await asyncio.sleep(0)
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        if call.receive_error is not None and not parts:
            raise call.receive_error
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        step()
        await asyncio.sleep(0)
        if call.send_error == len(seen.messages) + 1:
            raise OSError("the client has gone")
        seen.messages.append(
            {key: list(value) if key == "headers" else value for key, value in message.items()}
        )

    task = asyncio.ensure_future(app(scope, receive, send))
    try:
        await task
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever comes is compared
        seen.error = _chain(error)


def _chain(error: BaseException | None) -> list[str]:
    shown = []
    while error is not None and len(shown) < 20:
        shown.append(f"{type(error).__name__}: {error} {error.__suppress_context__} {error.__cause__!r}")
        error = error.__context__
    return shown


def _shown(value: Any) -> str:
    """What is the same of two applications made alike: not the identity of their objects."""
    if isinstance(value, dict):
        return str({_shown(key): _shown(one) for key, one in value.items()})
    if isinstance(value, (tuple, list)):
        return str([_shown(one) for one in value])
    if isinstance(value, (str, bytes, int, float, type(None))):
        return repr(value)
    return f"{type(value).__name__} {getattr(value, 'path', '')}{getattr(value, '__name__', '')}"
