"""`/events`: the status page's server-sent events, a snapshot each second. Runs in a worker."""

import asyncio
import contextlib
import json
import logging
from concurrent.futures import Executor
from typing import Any

from coachman.asgi import Receive, Send
from coachman.ops.responses import json_response
from coachman.ops.snapshot import Snapshots
from coachman.state.ring_file import AHEAD_SECONDS

MOST_READERS = 20  # of one worker
SECONDS = 1.0
RARE = ("events", "traffic")  # parts of a snapshot
RETRY_MILLISECONDS = 300  # after which a page whose worker has gone asks again, and gets another

log = logging.getLogger("coachman.serving")


class Feed:
    def __init__(self, snapshots: Snapshots, threads: Executor) -> None:
        self._snapshots, self._threads = snapshots, threads
        self._ending = asyncio.Event()
        self._readers = 0
        self._is_failing = False

    def end(self) -> None:
        """The worker goes: its readers go to others at once, instead of keeping it."""
        self._ending.set()

    async def serve(self, receive: Receive, send: Send) -> None:
        if self._readers >= MOST_READERS:
            await json_response({"detail": "This worker feeds enough pages."}, 503).send(send)
            return
        self._readers += 1
        gone: asyncio.Future[Any] = asyncio.ensure_future(_disconnected(receive))
        ending: asyncio.Future[Any] = asyncio.ensure_future(self._ending.wait())
        try:
            await self._send_until({gone, ending}, send)
        finally:
            self._readers -= 1
            gone.cancel()
            ending.cancel()

    async def _send_until(self, over: set["asyncio.Future[Any]"], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        text, since, is_over = f"retry: {RETRY_MILLISECONDS}\n", 0.0, False
        sent: dict[str, Any] = {}
        while True:
            snapshot = await self._take(since)
            if snapshot is not None:
                since = sent_until(since, snapshot)
                text += f"data: {json.dumps(without_repeats(snapshot, sent))}\n\n"
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                text = ""
            if is_over:  # what has just been sent says whether the service stops, or this worker alone
                break
            done, _ = await asyncio.wait(over, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
            is_over = bool(done)
            if is_over and not self._ending.is_set():
                return  # the reader has gone
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b""})

    async def _take(self, since: float) -> dict[str, Any] | None:
        """A snapshot; None where there is none to be had, which is said once."""
        # Reading files of some 100 KB: not on the loop that serves the application.
        loop = asyncio.get_running_loop()
        try:
            snapshot = await loop.run_in_executor(self._threads, self._snapshots.take, since)
        except Exception:
            if not self._is_failing:
                log.exception("What the status page shows cannot be read; open pages wait until it can")
            self._is_failing = True
            return None
        self._is_failing = False
        return snapshot


def sent_until(since: float, snapshot: dict[str, Any]) -> float:
    """Returns the last second that the reader has now; 0 where the clock was set back, so that it gets all.

    Else an open page would draw nothing new until the clock is again where it was.
    """
    newest: float = max([since, *(second["time"] for second in snapshot["history"])])
    return newest if newest <= snapshot["time"] + AHEAD_SECONDS else 0.0


def without_repeats(snapshot: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what the reader has, of the parts that change rarely and are long; notes what it gets."""
    repeated = [name for name in RARE if name in snapshot and sent.get(name) == snapshot[name]]
    sent.update({name: snapshot[name] for name in RARE if name in snapshot})
    return {name: value for name, value in snapshot.items() if name not in repeated}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
