"""The arbiter that the supervisor is built on, whatever version of Gunicorn is installed."""

import os
import select
import signal
import time
from typing import Any

from gunicorn.arbiter import Arbiter

POLL_SECONDS = 0.1
QUICK_STOP_SECONDS = 2.0


class ArbiterBefore25(Arbiter):
    """An older arbiter with the steps that the loop of Gunicorn 25 has.

    Before, workers were reaped in the handler of SIGCHLD, in the middle of whatever the master did. Here that
    signal ends a wait, and they are reaped behind it. The loop itself stays Gunicorn's: it runs already
    when an arbiter is made a supervisor.
    """

    SIG_QUEUE: list[int]
    PIPE: Any  # its descriptors; a byte in it ends a wait

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(signal.SIGCHLD, lambda *_: self.wakeup())

    def signal(self, sig: int, frame: object) -> None:
        """Replaces Gunicorn's, which drops a signal when five others wait."""
        self.SIG_QUEUE.append(sig)
        self.wakeup()

    def sleep(self) -> None:
        """The loop's step that waits until something has to be done."""
        self.wait_for_signals()
        self.reap_workers()

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """Waits for a signal, which the loop takes from its queue; none is returned, as Gunicorn 25 would."""
        if select.select([self.PIPE[0]], [], [], timeout)[0]:
            while self._read_pipe():
                pass
        return []

    def _read_pipe(self) -> bytes:
        try:
            return os.read(self.PIPE[0], 4096)
        except BlockingIOError:
            return b""

    def stop(self, graceful: bool = True) -> None:
        """Ends the workers. The listeners have been closed."""
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while self.WORKERS and time.monotonic() < ends_at:
            if graceful and {signal.SIGINT, signal.SIGQUIT} & set(self.SIG_QUEUE):
                graceful = False
                self.kill_workers(signal.SIGQUIT)
                ends_at = time.monotonic() + QUICK_STOP_SECONDS
            self.reap_workers()
            time.sleep(POLL_SECONDS)
        self.kill_workers(signal.SIGKILL)
        self.reap_workers()


SupervisedArbiter: Any = Arbiter if hasattr(Arbiter, "wait_for_signals") else ArbiterBefore25
