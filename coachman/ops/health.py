"""`/livez` and `/readyz`, asked by people, proxies and orchestrators.

Plain ASGI: the application's framework may be any, and this must answer when the application cannot.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from coachman.report import signal_name, words
from coachman.scoreboard import Reason, Row, Scoreboard, State

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ANSWERS_FOR = {"ready": 200, "degraded": 503, "down": 503}


class HealthApp:
    """Runs in every worker. Without a scoreboard (another master) a worker speaks for itself alone."""

    def __init__(self, scoreboard: Scoreboard | None) -> None:
        self._scoreboard = scoreboard

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(
                send, 405, {"detail": "Only GET and HEAD are answered here."}, (b"allow", b"GET, HEAD")
            )
        elif scope["path"] == "/livez":
            await _answer(send, 200, {"status": "alive", "pid": os.getpid()})
        elif scope["path"] == "/readyz":
            report = readiness(self._scoreboard)
            await _answer(send, ANSWERS_FOR[report["status"]], report)
        else:
            await _answer(send, 404, {"detail": "The ops listener answers /livez and /readyz."})


def readiness(scoreboard: Scoreboard | None) -> dict[str, Any]:
    """ready: serves in full; degraded: some of the wanted workers serve; down: none does."""
    if scoreboard is None:
        return {"status": "ready", "pid": os.getpid()}
    service = scoreboard.service
    rows = list(scoreboard.rows())
    ready = sum(row.state == State.READY for _, row in rows)
    status = "ready" if ready >= service.workers else "degraded" if ready else "down"
    return {
        "status": status,
        "ready": ready,
        "workers": service.workers,
        "generation": service.generation,
        "log_lines_dropped": service.lines_dropped + sum(row.lines_dropped for _, row in rows),
        "slots": [describe(number, row) for number, row in rows],
    }


def describe(number: int, row: Row) -> dict[str, Any]:
    """One slot as JSON."""
    return {
        "slot": number,
        "state": words(State(row.state)),
        "pid": row.pid,
        "since": _iso(row.since),
        "requests": row.requests,
        "in_flight": row.in_flight,
        "connections": row.connections,
        "restarts": row.restarts,
        "failures": row.failures,
        "rss": row.rss,
        "last_exit": {
            "code": row.exit_code,
            "signal": signal_name(row.exit_code),
            "reason": words(Reason(row.exit_reason)),
            "at": _iso(row.exited_at),
        }
        if row.exited_at
        else None,
    }


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")


async def _answer(send: Send, status: int, content: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(content).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
