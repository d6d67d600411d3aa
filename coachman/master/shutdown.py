"""Completes Gunicorn's shutdown: closes listeners, reaps killed workers, ends an unfinished handover."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gunicorn import sock

POLL_SECONDS = 0.02
LAST_REAP_SECONDS = 1.0  # for workers that have been sent SIGKILL


def close_listeners(listeners: Iterable[Any], *, unlink: bool) -> None:
    """As Gunicorn does; but a socket file that is gone would end its stop before it has told the workers."""
    for listener in listeners:
        with contextlib.suppress(OSError):
            sock.close_sockets([listener], unlink)


class End(NamedTuple):
    """How a worker ended in a stop."""

    code: int  # as subprocess has it
    most_lost: int  # requests


def sentence(seconds: float, in_flight: int, ends: Sequence[End]) -> str:
    """Such as "after 1.2 s: 3 requests were in flight, none lost".

    `in_flight` is what was there when the stop began, as old as the last heartbeat.
    """
    lost = sum(end.most_lost for end in ends)
    in_flight = max(in_flight, lost)
    open_ = "1 request was in flight" if in_flight == 1 else f"{in_flight} requests were in flight"
    told = f"after {seconds:.1f} s: {open_}, " + (f"at most {lost} lost" if lost else "none lost")
    killed = sum(end.code == -signal.SIGKILL for end in ends)
    if not killed:
        return told
    return f"{told}; {'1 worker was' if killed == 1 else f'{killed} workers were'} killed"


def reap_until(is_done: Callable[[], bool], reap: Callable[[], None], seconds: float) -> bool:
    """Reaps until all is done or the time is over, and returns whether it is done."""
    limit = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > limit:
            return False
        reap()
        time.sleep(POLL_SECONDS)
    return True
