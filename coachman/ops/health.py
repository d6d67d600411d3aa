"""`/livez` and `/readyz`, asked by people, proxies and orchestrators.

Plain ASGI: the application's framework may be any, and this must answer when the application cannot.
"""

import json
import os
from typing import Any

from coachman.asgi import Message, Receive, Send
from coachman.readiness import readiness
from coachman.scoreboard import Scoreboard

ANSWERS_FOR = {"ready": 200, "handed-over": 200, "degraded": 503, "down": 503}


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
