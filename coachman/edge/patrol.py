"""Looks at every connection of a worker once a second, and makes room where there are too many."""

import asyncio
import logging
from time import monotonic
from typing import Protocol

from coachman.edge.cork import Corks
from coachman.edge.limits import Limits
from coachman.edge.refusal import Refusal, Refusals

LOOK_SECONDS = 1
TELL_SECONDS = 10
ROOM_SECONDS = 0.2  # between two makings of room: each looks at all connections
EVICTABLE_SECONDS = 1

log = logging.getLogger("gunicorn.error")


class Watched(Protocol):
    """A connection with deadlines. WebSockets are not: Uvicorn pings them."""

    def check_deadlines(self, now: float) -> None: ...

    def waits_since(self) -> float | None:
        """When it began to wait for its client; None while it is owed an answer."""

    def evict(self) -> None: ...


class Patrol:
    def __init__(self, limits: Limits, refusals: Refusals) -> None:
        self.limits, self.refusals = limits, refusals
        self.watched: set[Watched] = set()
        self.corks = Corks()
        self.busy_seconds = 0.0  # the sum of the durations of the requests that have been answered
        self._made_room_at = 0.0

    async def run(self) -> None:
        told_at = monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = monotonic()
            for connection in list(self.watched):
                connection.check_deadlines(now)
            if now - told_at >= TELL_SECONDS:
                told_at = now
                self._tell()

    def make_room(self, open_connections: int, now: float) -> None:
        """Ends those that have waited longest for their client: silent ones, half heads, idle keep-alive."""
        if now - self._made_room_at < ROOM_SECONDS:
            return
        self._made_room_at = now
        waiting = [(connection.waits_since(), connection) for connection in self.watched]
        longest = sorted(
            (
                (since, connection)
                for since, connection in waiting
                if since is not None and now - since > EVICTABLE_SECONDS
            ),
            key=lambda pair: pair[0],
        )
        too_many = open_connections - self.limits.connections * 9 // 10
        for _, connection in longest[:too_many]:
            self.refusals.count(Refusal.EVICTED)
            connection.evict()

    def _tell(self) -> None:
        """One line for all: a line for each would let an attacker write the log."""
        if news := self.refusals.news():
            log.warning("Limits were reached in the last %d s: %s", TELL_SECONDS, news)
