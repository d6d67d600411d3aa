"""An open loop: requests fall due on a schedule of their own, whether or not the server keeps up.

A closed loop asks less while the server is slow, and so hides the slowness (coordinated omission).
"""

import random
from time import perf_counter

import gevent
from gevent.queue import Queue


class Arrivals:
    """A Poisson process of `rate` requests a second. Idle users wait in line for the next due time."""

    def __init__(self, rate: float, seed: int | None = None) -> None:
        self._mean_seconds = 1 / rate
        self._random = random.Random(seed)  # noqa: S311
        self._due: Queue[float] = Queue()
        self.offered = 0
        self._pacer = gevent.spawn(self._pace)

    def take(self) -> float:
        """Blocks a user until a request falls due; the time may have passed when all were busy."""
        return float(self._due.get())

    def stop(self) -> None:
        """No more fall due; what is due already can still be taken."""
        self._pacer.kill()

    @property
    def backlog(self) -> int:
        """How many are due and no user has taken them."""
        return len(self._due)

    def _pace(self) -> None:
        due = perf_counter()
        while True:
            due += self._random.expovariate(1) * self._mean_seconds
            gevent.sleep(max(0.0, due - perf_counter()))
            self._due.put(due)
            self.offered += 1
