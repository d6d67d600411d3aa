"""How much each worker has to do, in shared memory: what workers ask before they accept a connection.

It lies beside the scoreboard, whose rows are written ten times a second: this is written at each connection.
"""

import mmap
import time

STALE_SECONDS = 0.3  # three heartbeats: a worker that is blocked, stopped or gone holds nobody back
_TAKES_NOTHING = -1.0


class LoadTable:
    """Made by the master before it forks. A worker writes its own slot, and reads the others without a lock.

    A load is the number of open connections, and below the point how busy the worker is otherwise.
    """

    def __init__(self, slots: int) -> None:
        # Two doubles a slot: when it was written (monotonic), and the load. Aligned, so never half written.
        self._values = memoryview(mmap.mmap(-1, slots * 16)).cast("d")

    def write(self, slot: int, load: float) -> None:
        self._values[2 * slot + 1] = load
        self._values[2 * slot] = time.monotonic()

    def withdraw(self, slot: int) -> None:
        """The worker in `slot` takes no connection: it starts, or drains."""
        self.write(slot, _TAKES_NOTHING)

    def connections(self, slot: int) -> int:
        """How many connections the worker in `slot` has open, or had at its end; 0 if it has not said."""
        return max(0, int(self._values[2 * slot + 1]))

    def others(self, slot: int, slots: int) -> list[float]:
        """The loads of the other workers that take connections, of the first `slots` slots."""
        values, oldest = self._values[: 2 * slots].tolist(), time.monotonic() - STALE_SECONDS
        return [
            values[at + 1]
            for at in range(0, len(values), 2)
            if values[at + 1] >= 0 and values[at] > oldest and at != 2 * slot
        ]
