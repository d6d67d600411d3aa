"""The load of each worker, in shared memory, which workers read before they accept a connection.

It lies beside the scoreboard, whose rows are written ten times a second: this is written at each connection.
"""

import math
import mmap
import time

STALE_SECONDS = 0.3  # three heartbeats: others do not wait for a blocked, stopped or dead worker
_TAKES_NOTHING = -1.0


class LoadTable:
    """Made by the master before it forks. A worker writes its own slot, and reads the others without a lock.

    A load is the number of open connections, and below the point how busy the worker is otherwise.
    """

    def __init__(self, slots: int) -> None:
        # Doubles: the loads of all slots, and when their workers last moved. Aligned, so never half written.
        values = memoryview(mmap.mmap(-1, slots * 16)).cast("d")
        self._loads, self._beats = values[:slots], values[slots:]

    def write(self, slot: int, load: float) -> None:
        self._loads[slot] = load

    def beat(self, slot: int) -> None:
        """Called at each heartbeat: a load without one counts as that of a stuck worker."""
        self._beats[slot] = time.monotonic()

    def withdraw(self, slot: int) -> None:
        """Marks the worker in `slot` as one that accepts nothing, since it starts or drains."""
        self._loads[slot] = _TAKES_NOTHING

    def connections(self, slot: int) -> int:
        """How many connections the worker in `slot` has open, or had at its end; 0 if it has not said."""
        return max(0, int(self._loads[slot]))

    def least(self, slot: int, slots: int) -> float:
        """The least load of the other workers that take connections; infinite where there are none.

        Of the first `slots` slots. Called for each connection: the same as min(others()), in half the time.
        """
        loads, beats = self._loads[:slots].tolist(), self._beats[:slots].tolist()
        oldest, least = time.monotonic() - STALE_SECONDS, math.inf
        for number, load in enumerate(loads):
            if 0 <= load < least and number != slot and beats[number] > oldest:
                least = load
        return least

    def others(self, slot: int, slots: int) -> list[float]:
        """The loads of the other workers that take connections, of the first `slots` slots."""
        loads, beats = self._loads[:slots].tolist(), self._beats[:slots].tolist()
        oldest = time.monotonic() - STALE_SECONDS
        return [
            load
            for number, (load, beat) in enumerate(zip(loads, beats, strict=True))
            if load >= 0 and beat > oldest and number != slot
        ]
