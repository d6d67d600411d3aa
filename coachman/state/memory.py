"""What the processes of a service cost in memory. Runs in the master."""

from collections.abc import Callable, Iterable

from coachman.system.process import pss_bytes

SECONDS = 30.0  # between two readings of a process: the kernel walks all of its pages for one
MOST_NEW = 8  # processes that are read at once for the first time


class Memory:
    """Each process's proportional set size: pages that processes share count once in the sum.

    The sum of their resident sizes counts each shared page as often as there are workers.
    """

    def __init__(self, read: Callable[[int], int] = pss_bytes) -> None:
        self._read = read
        self._known: dict[int, tuple[float, int]] = {}  # pid -> when it was read (monotonic), bytes

    def poll(self, pids: Iterable[int], now: float) -> dict[int, int]:
        """Bytes by pid, of those that have been read. To be called once a second; `now` is monotonic."""
        pids = list(pids)
        self._known = {pid: self._known[pid] for pid in pids if pid in self._known}
        new = [pid for pid in pids if pid not in self._known][:MOST_NEW]
        # Else one a second at most, the one that was read first: not all of them at once.
        oldest = min(self._known, key=lambda pid: self._known[pid][0], default=0)
        if not new and oldest and now - self._known[oldest][0] >= SECONDS:
            new = [oldest]
        for pid in new:
            self._known[pid] = (now, self._read(pid))
        return {pid: size for pid, (_, size) in self._known.items()}
