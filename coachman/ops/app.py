"""The ops listener's addresses.

Plain ASGI: the application's framework may be any, and this must answer when the application cannot.
"""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from coachman.asgi import Message, Receive, Send
from coachman.metrics.store import Store
from coachman.ops.about import About
from coachman.ops.event_stream import Feed
from coachman.ops.health import livez, readyz
from coachman.ops.metrics_endpoint import Scrape
from coachman.ops.page import page_file
from coachman.ops.responses import Response, json_response
from coachman.ops.snapshot import Snapshots
from coachman.state.scoreboard import Scoreboard

THREADS = 2
ADDRESSES = "/, /livez, /readyz, /metrics, /status.json and /events"


class OpsApp:
    """Runs in every worker. Without a scoreboard (another master) a worker speaks for itself alone."""

    def __init__(
        self,
        scoreboard: Scoreboard | None,
        store: Store | None,
        public: list[socket.socket],
        runtime_dir: Path,
        about: About | None = None,
    ) -> None:
        self._scoreboard, self._runtime_dir = scoreboard, runtime_dir
        # The loop's own executor is the application's: where it is busy, nobody could see that it is.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="coachman-ops")
        self._scrape = Scrape(scoreboard, store, public, self._threads, runtime_dir)
        self._snapshots = None
        if scoreboard is not None:
            self._snapshots = Snapshots(scoreboard, runtime_dir, store, public, about)
        self._feed = Feed(self._snapshots, self._threads) if self._snapshots is not None else None

    def stop(self) -> None:
        if self._feed is not None:
            self._feed.end()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/events" and scope["method"] == "GET" and self._feed is not None:
            await self._feed.serve(receive, send)
        else:
            await (await self._answer(scope)).send(send)

    async def _answer(self, scope: Message) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            detail = {"detail": "Only GET and HEAD are answered here."}
            return json_response(detail, 405, (b"allow", b"GET, HEAD"))
        match scope["path"]:
            case "/livez":
                return livez()
            case "/readyz":
                return readyz(self._scoreboard, self._runtime_dir)
            case "/metrics":
                return await self._scrape.answer(_header(scope, b"accept"))
            case "/status.json" if self._snapshots is not None:
                loop = asyncio.get_running_loop()
                return json_response(await loop.run_in_executor(self._threads, self._snapshots.take))
        answer = page_file(scope["path"])
        return answer or json_response({"detail": f"The ops listener answers {ADDRESSES}."}, 404)


def _header(scope: Message, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
