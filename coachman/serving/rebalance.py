"""Spreads keep-alive connections anew when workers come and go: COACHMAN_REBALANCE.

A worker that has more connections than its share answers some requests with `Connection: close`. Their
clients connect again, and come to workers that have fewer.
"""

import asyncio
import math
import random
from collections.abc import Callable

from coachman.asgi import Message
from coachman.serving.balance import ConnectionShare

INTERVAL_SECONDS = 0.5
MAX_INTERVAL_SECONDS = 30.0
_CLOSE = (b"connection", b"close")


class Rebalancer:
    """Decides twice a second how many connections are to be closed, each after a whole answer.

    It takes half of what is too many at a time, so that workers that decide at the same moment do not
    overshoot, and waits longer and longer while that does not help: clients may come back to the same worker.
    """

    def __init__(self, share: ConnectionShare, on_close: Callable[[], None]) -> None:
        self._share, self._on_close = share, on_close
        self.to_close = 0  # connections that may still be closed in this round
        self._before = self._workers = 0
        self._interval = INTERVAL_SECONDS

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311
            self.decide(*self._share.above_share())

    def decide(self, surplus: int, others: int) -> None:
        """`surplus` connections are beyond the share of this worker, which has `others` beside it."""
        if not surplus or others != self._workers or surplus < self._before:
            self._interval = INTERVAL_SECONDS
        elif self._before:
            self._interval = min(MAX_INTERVAL_SECONDS, 1.5 * self._interval)
        # Once is chance, such as a burst that others have not accepted yet.
        self.to_close = math.ceil(surplus / 2) if self._before else 0
        self._before, self._workers = surplus, others

    def begin(self, scope: Message, message: Message) -> Message:
        """The start of a response, after which Uvicorn closes the connection where that is to be.

        Only one whose length is known: a stream may have an end that its client does not wait for.
        """
        if not self.to_close or scope["http_version"] != "1.1" or _CLOSE in scope["headers"]:
            return message
        names = {name for name, _ in message.get("headers", ())}
        if b"content-length" not in names or b"connection" in names or message["status"] < 200:
            return message
        self.to_close -= 1
        self._on_close()
        return {**message, "headers": [*message.get("headers", ()), _CLOSE]}
