"""The ops listener's addresses.

Plain ASGI: the application's framework may be any, and this must answer when the application cannot.
"""

import socket

from coachman.asgi import Message, Receive, Send
from coachman.ops.answer import Answer, json_answer
from coachman.ops.health import livez, readyz
from coachman.ops.scrape import Scrape
from coachman.ops.store import Store
from coachman.scoreboard import Scoreboard


class OpsApp:
    """Runs in every worker. Without a scoreboard (another master) a worker speaks for itself alone."""

    def __init__(
        self, scoreboard: Scoreboard | None, store: Store | None, public: list[socket.socket]
    ) -> None:
        self._scoreboard = scoreboard
        self._scrape = Scrape(scoreboard, store, public)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await (await self._answer(scope)).send(send)

    async def _answer(self, scope: Message) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            detail = {"detail": "Only GET and HEAD are answered here."}
            return json_answer(detail, 405, (b"allow", b"GET, HEAD"))
        match scope["path"]:
            case "/livez":
                return livez()
            case "/readyz":
                return readyz(self._scoreboard)
            case "/metrics":
                return await self._scrape.answer(_header(scope, b"accept"))
        return json_answer({"detail": "The ops listener answers /livez, /readyz and /metrics."}, 404)


def _header(scope: Message, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
