"""A worker whose master is gone must not go on serving: it would hold the port beside the next service."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

LIMIT_SECONDS = 1.8  # for what is open; then the process ends, whatever it does
_PR_SET_PDEATHSIG = 1


class Orphanage:
    """Runs in the worker. `stop` is called when the master has ended without stopping us."""

    def __init__(self, master_pid: int, stop: Callable[[], None]) -> None:
        self._master_pid, self._stop = master_pid, stop
        self._is_orphan = False

    def watch(self) -> None:
        """Has Linux send SIGUSR2 when the master ends: its handler runs in a blocked event loop too.

        Called after the change of user, which would cancel it. The heartbeat looks as well: for other
        systems, and for a master that has ended before this call.
        """
        signal.signal(signal.SIGUSR2, lambda *_: self.look())
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR2)
        self.look()

    def look(self) -> None:
        if self._is_orphan or os.getppid() == self._master_pid:
            return
        self._is_orphan = True
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
        signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
        self._stop()
