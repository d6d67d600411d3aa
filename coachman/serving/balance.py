"""How the workers of a service share its connections: decisions on numbers, which run in each worker.

The kernel gives a connection to whoever asks first, so that one worker often takes most of a burst, and
keeps it as long as the clients keep their connections.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from coachman.state.load_table import LoadTable
from coachman.state.scoreboard import Service

DELAY_SECONDS = 0.004  # for each connection above the least loaded worker's, which has to wake up meanwhile
MAX_DELAY_SECONDS = 0.02
TOLERANCE = 1 / 16  # of the least load: with many connections a few more or less are no difference
UNEVEN = 1.1  # times its share a worker may have before it sends connections away
BUSY_LAG_SECONDS = 0.1  # an event loop this late is as busy as can be


def accept_delay(mine: float, least: float) -> float:
    """How long to leave a new connection to the worker with `least` to do, in seconds; 0 where to take it.

    `least` is that of the other workers, and infinite where there are none.
    """
    surplus = mine - least * (1 + TOLERANCE)
    return min(MAX_DELAY_SECONDS, surplus * DELAY_SECONDS) if surplus > 0 else 0.0


def connections_above_share(mine: int, others: Sequence[int]) -> int:
    """How many connections a worker has beyond its share; 0 where that is no difference worth a move."""
    share = math.ceil((mine + sum(others)) / (1 + len(others)))
    return mine - share if mine > share * UNEVEN else 0


def connection_limit(each: int, most: int, workers: int, others: Iterable[float]) -> int:
    """How many connections a worker may have: what the other ones leave of `each` for every worker.

    Never fewer than `each`, which is its own part, and never more than `most`, which one process carries.
    """
    return min(most, max(each, each * workers - sum(int(load) for load in others)))


def busyness(in_flight: int, lag_seconds: float) -> float:
    """From 0 to below 1: which of two workers with as many connections has less to do."""
    waiting = min(1.0, lag_seconds / BUSY_LAG_SECONDS)
    return (in_flight / (in_flight + 1) + waiting) / 2.001


class ConnectionShare:
    """One worker's share of the service's connections, published to the others at each change."""

    def __init__(self, table: LoadTable, slot: int, read_service: Callable[[], Service]) -> None:
        self._table, self._slot, self._read_service = table, slot, read_service
        service = read_service()
        self._slots, self._workers = service.slots, service.workers
        self._is_open = False
        self._busyness = 0.0
        self.connections = OpenConnections(self._opened, self._write)
        self.being_accepted = 0  # connections that have no protocol yet
        table.withdraw(slot)

    def open(self) -> None:
        """Marks the worker as one that accepts."""
        self._is_open = True
        self._table.beat(self._slot)
        self._write()

    def close(self) -> None:
        """Marks the worker as draining: others neither wait for it to accept, nor count its connections."""
        self._is_open = False
        self._table.withdraw(self._slot)

    def beat(self, in_flight: int, lag_seconds: float) -> None:
        """Called ten times a second, so that a worker whose event loop is blocked holds nobody back."""
        service = self._read_service()
        self._slots, self._workers = service.slots, service.workers
        self._busyness = busyness(in_flight, lag_seconds)
        self._table.beat(self._slot)
        self._write()

    def accepting(self) -> None:
        """Counts a connection that was accepted and has no protocol yet."""
        self.being_accepted += 1
        self._write()

    def accept_failed(self) -> None:
        """Uncounts a connection that ended before it had a protocol."""
        self.being_accepted = max(0, self.being_accepted - 1)
        self._write()

    def accept_delay(self) -> float:
        """In seconds; 0 where this worker is to take the next connection."""
        return accept_delay(self._load(), self._table.least(self._slot, self._slots))

    def above_share(self) -> tuple[int, int]:
        """How many connections this worker has beyond its share, and how many other workers there are."""
        others = self._table.others(self._slot, self._slots)
        return connections_above_share(len(self.connections), [int(load) for load in others]), len(others)

    def connection_limit(self, each: int, most: int) -> int:
        """How many connections this worker may have, of a service that has room for `each` in every one."""
        return connection_limit(each, most, self._workers, self._table.others(self._slot, self._slots))

    def _opened(self) -> None:
        if self.being_accepted:
            self.being_accepted -= 1  # it is counted already
        else:
            self._write()

    def _write(self) -> None:
        if self._is_open:
            self._table.write(self._slot, self._load())

    def _load(self) -> float:
        return len(self.connections) + self.being_accepted + self._busyness


class OpenConnections(set[Any]):
    """Uvicorn's set of open connections, of HTTP and WebSockets, which reports each change.

    It is changed for each connection, and to look for set's methods by super() takes twice as long.
    """

    def __init__(self, opened: Callable[[], None], closed: Callable[[], None]) -> None:
        super().__init__()
        self._opened, self._closed = opened, closed

    def add(self, connection: Any) -> None:
        set.add(self, connection)
        self._opened()

    def discard(self, connection: Any) -> None:
        set.discard(self, connection)
        self._closed()

    def remove(self, connection: Any) -> None:
        set.remove(self, connection)
        self._closed()
