"""Completes Gunicorn's shutdown: closes listeners, reaps killed workers, ends an unfinished handover."""

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn import sock

POLL_SECONDS = 0.02
LAST_REAP_SECONDS = 1.0  # for workers that have been sent SIGKILL


def close_listeners(listeners: Iterable[Any], *, unlink: bool) -> None:
    """As Gunicorn does; but a socket file that is gone would end its stop before it has told the workers."""
    for listener in listeners:
        with contextlib.suppress(OSError):
            sock.close_sockets([listener], unlink)


def reap_until(is_done: Callable[[], bool], reap: Callable[[], None], seconds: float) -> bool:
    """Reaps until all is done or the time is over, and returns whether it is done."""
    limit = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > limit:
            return False
        reap()
        time.sleep(POLL_SECONDS)
    return True
