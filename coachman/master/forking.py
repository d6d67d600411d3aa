"""Forks a worker through Gunicorn, which does not expect fork() or the heartbeat file to fail."""

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from coachman.logs import last_words
from coachman.state.events import Events
from coachman.system.process import STOP_SIGNALS, leave

RETRY_SECONDS = 0.5
LINGER_SECONDS = 2.0  # for threads of an application that has been shut down

log = logging.getLogger("gunicorn.error")


class ForkControl:
    """Logs once that no worker can be forked, and once that it works again."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._error = ""

    def fork(self, spawn: Callable[[], Any]) -> Any:
        """Returns the pid, as `spawn` does; None where the system refuses. Does not return in the child."""
        umask = os.umask(0)
        os.umask(umask)
        # A stop that reaches the child before it has its own handlers must wait for them (see
        # Worker.init_signals): the master's, which it inherits, queue the signal where nobody reads it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = _spawn(spawn)
        except (OSError, RuntimeError) as error:
            os.umask(umask)  # Gunicorn has changed it for the file that it could not make
            if str(error) != self._error:
                message = "Cannot fork a worker (%s); tried again every %g s"
                self._events.emit(logging.ERROR, "fork-failed", message, error, RETRY_SECONDS)
            self._error = str(error)
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._error:
            self._events.emit(logging.INFO, "fork-restored", "Workers can be forked again")
            self._error = ""
        return pid


def _spawn(spawn: Callable[[], Any]) -> Any:
    """Ends the child by itself: if it returned, it would act as a second master, on our workers."""
    ours = os.getpid()
    try:
        return spawn()
    except BaseException as error:
        if os.getpid() == ours:
            raise
        if isinstance(error, SystemExit):
            leave(last_words.take(error), LINGER_SECONDS)
        log.error("A worker failed right after its fork: %r", error)
        os._exit(1)
