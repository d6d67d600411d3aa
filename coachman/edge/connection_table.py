"""Checks the deadlines of a worker's connections and closes idle ones when there are too many."""

import asyncio
import contextlib
import logging
from time import monotonic
from typing import Protocol

from coachman.edge.limits import Limits
from coachman.edge.rejection import Asked, Rejection, RejectionCounts
from coachman.edge.response import Closer
from coachman.edge.write_buffer import WriteBuffers

SWEEP_SECONDS = 1
REPORT_SECONDS = 10
EVICTION_PAUSE_SECONDS = 0.2  # between two evictions: each checks all connections
EVICTABLE_SECONDS = 1
FAILED = "A connection could not be looked after, and is ended; the others are not affected"

log = logging.getLogger("gunicorn.error")


class Connection(Protocol):
    """An HTTP connection with deadlines for its client. WebSockets have none of these: Uvicorn pings them."""

    def check_deadlines(self, now: float) -> None: ...

    def idle_since(self) -> float | None:
        """Since when the connection waits for the client; None while a response is pending."""

    def open_seconds(self, now: float) -> float:
        """For how long its present request has been open; 0 where none is."""

    def end(self, *, at_once: bool) -> None:
        """Closes the connection; `at_once` discards what is still to be sent."""


class ConnectionTable:
    """What the connections of one worker share."""

    def __init__(self, limits: Limits, rejections: RejectionCounts) -> None:
        self.limits, self.rejections = limits, rejections
        self.most_open = limits.connections
        self.closer: Closer | None = None
        self._is_lowered = False
        self.connections: set[Connection] = set()
        self.write_buffers = WriteBuffers()
        self.busy_seconds = 0.0  # the sum of the durations of the requests that have been answered
        self._evicted_at = 0.0

    def work(self, now: float) -> float:
        """The durations of all requests, in seconds, those included that are still open.

        How much it grows in a second is how many were in flight, on average.
        """
        return self.busy_seconds + sum(connection.open_seconds(now) for connection in self.connections)

    def reject(self, rejection: Rejection, asked: Asked) -> None:
        """Counts a rejection; the first of each kind in ten seconds gets a log line of its own."""
        if self.rejections.count(rejection):
            log.warning("%s", rejection.sentence(asked, self.limits))

    async def run(self) -> None:
        """Sweeps once a second until it is cancelled."""
        reported_at = monotonic()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = monotonic()
            self.sweep(now)
            if now - reported_at >= REPORT_SECONDS:
                reported_at = now
                self._report()

    def sweep(self, now: float) -> None:
        """Checks the deadlines of all connections. One that fails is ended; the others are still checked."""
        for connection in list(self.connections):
            try:
                connection.check_deadlines(now)
            except Exception:
                log.exception(FAILED)
                self._drop(connection)

    def allow(self, connections: int, now: float) -> None:
        """Sets how many connections the worker may have open: what its service has room for changes.

        Where it is less than before, idle ones are closed; those that ask something get 503 meanwhile.
        """
        self._is_lowered = self._is_lowered or connections < self.most_open
        self.most_open = connections
        if self._is_lowered:
            self._is_lowered = len(self.connections) > connections
            if self._is_lowered:
                self.evict_idle(len(self.connections), now)

    def has_room(self, open_connections: int, now: float) -> bool:
        """Whether the newest connection is heard. Beyond the limit idle ones are closed for it.

        A quarter beyond it is closed unheard: to answer 503 it would have to be read first.
        """
        if open_connections > self.most_open:
            self.evict_idle(open_connections, now)
        return open_connections <= self.most_open * 5 // 4

    def evict_idle(self, open_connections: int, now: float) -> None:
        """Closes the connections that have waited longest for their client.

        These are silent ones, half request heads and idle keep-alive connections. A tenth of the limit is
        freed, so that not each new connection has to look at all the others.
        """
        if now - self._evicted_at < EVICTION_PAUSE_SECONDS:
            return
        self._evicted_at = now
        idle = [(connection.idle_since(), connection) for connection in self.connections]
        longest_first = sorted(
            (
                (since, connection)
                for since, connection in idle
                if since is not None and now - since > EVICTABLE_SECONDS
            ),
            key=lambda pair: pair[0],
        )
        excess = open_connections - self.most_open * 9 // 10
        for _, connection in longest_first[:excess]:
            self.rejections.count(Rejection.EVICTED)
            try:
                connection.end(at_once=False)
            except Exception:
                log.exception(FAILED)
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        """Ends one that has failed; the others go on as they are."""
        self.connections.discard(connection)
        with contextlib.suppress(Exception):
            connection.end(at_once=True)

    def _report(self) -> None:
        """One line for all: a line for each would let an attacker fill the log."""
        if summary := self.rejections.take_summary():
            log.warning("Limits were reached in the last %d s: %s", REPORT_SECONDS, summary)
