"""What the master tells systemd, by sd_notify(3). Without systemd nothing is said.

Gunicorn says READY=1 by itself, before there is a worker. So the socket's name is taken out of the
environment before Gunicorn looks; a master that is handed over to gets the original environment.
"""

import contextlib
import os
import socket

_address = os.environ.pop("NOTIFY_SOCKET", "")


def notify(*assignments: str) -> None:
    """Sends such as "READY=1". Never waits and never fails: supervision goes on without systemd."""
    if not _address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto("\n".join(assignments).encode(), _address.replace("@", "\0", 1))


def wants_watchdog() -> bool:
    """Whether systemd restarts this master when it falls silent (WatchdogSec)."""
    return "WATCHDOG_USEC" in os.environ and os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
