"""Sends the master's state to systemd, by sd_notify(3). Without systemd nothing is sent."""

import contextlib
import os
import socket

from coachman.system.environment_names import NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC


class Notifier:
    """Sends to the socket that systemd has given this service; an empty address sends nothing."""

    def __init__(self, address: str = "") -> None:
        self._address = address.replace("@", "\0", 1)

    def notify(self, *assignments: str) -> None:
        """Sends such as "READY=1". Never waits and never fails: supervision goes on without systemd."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(assignments).encode(), self._address)


def take_notifier() -> Notifier:
    """Takes the socket's name out of the environment. To be called before Gunicorn's arbiter starts.

    Gunicorn says READY=1 by itself, before there is a worker, if it finds the name. A master that is handed
    over to gets the original environment, of which Gunicorn has made a copy by then.
    """
    return Notifier(os.environ.pop(NOTIFY_SOCKET, ""))


def wants_watchdog() -> bool:
    """Whether systemd restarts this master when it falls silent (WatchdogSec)."""
    return WATCHDOG_USEC in os.environ and os.environ.get(WATCHDOG_PID) in (None, str(os.getpid()))
