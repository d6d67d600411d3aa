"""What Gunicorn's stop leaves undone. Runs in the master."""

import contextlib
import signal
import time
from typing import TYPE_CHECKING

from gunicorn import sock

from coachman.state.states import Reason

if TYPE_CHECKING:
    from coachman.master.supervisor import Supervisor

LOOK_SECONDS = 0.02
LAST_REAP_SECONDS = 1.0


def close_listeners(arbiter: "Supervisor") -> None:
    """As Gunicorn does; but a socket file that is gone would end its stop before it has told the workers."""
    unlink = arbiter.reexec_pid == arbiter.master_pid == 0 and not arbiter.systemd
    for listener in arbiter.LISTENERS:
        with contextlib.suppress(OSError):
            sock.close_sockets([listener], unlink)
    arbiter.LISTENERS = []


def reap_the_killed(arbiter: "Supervisor") -> None:
    """Gunicorn kills what is left and does not wait for it: their ends would not be told."""
    limit = time.monotonic() + LAST_REAP_SECONDS
    for worker in arbiter.WORKERS.values():
        worker.lost = worker.lost or Reason.DRAIN_TIMEOUT
    while arbiter.WORKERS and time.monotonic() < limit:
        arbiter.reap_workers()
        time.sleep(LOOK_SECONDS)


def wait_for_successor(arbiter: "Supervisor") -> None:
    """A stop in the middle of a handover ends both masters; one that has taken over is left alone."""
    limit = time.monotonic() + arbiter.cfg.graceful_timeout
    while arbiter.handover is not None and not arbiter.has_handed_over:
        if time.monotonic() > limit:
            arbiter.handover.signal(signal.SIGKILL)
        arbiter.reap_workers()
        time.sleep(LOOK_SECONDS)
