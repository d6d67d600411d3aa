"""Detaches a process that the application forks, by multiprocessing or os.fork, from the service.

Such a child inherits everything of the worker. As it is, SIGTERM to it would stop the worker through the
wake-up descriptor that both share; a child that comes back into the event loop would write the worker's row
and answer its clients; and one that lives on would hold the port and the clients' connections.
"""

import asyncio
import contextlib
import functools
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from coachman.serving.tasks import SharedTasks
from coachman.state.scoreboard import Slot
from coachman.system.process import STOP_SIGNALS, leave

HANDLED_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

WORKERS_LOGGER = "coachman.serving"  # of what a worker says of itself

log = logging.getLogger("coachman.forked_child")


def close_listeners(listeners: Iterable[socket.socket]) -> None:
    """Closes the child's descriptors: it must not keep the port when the worker is gone."""
    for listener in listeners:
        file = listener.detach()  # once: the number is the next file's
        with contextlib.suppress(OSError):
            os.close(file)


def reset_signals() -> None:
    """Resets the signals that the worker handles to their defaults, for they are not meant for the child."""
    with contextlib.suppress(ValueError):  # not in the main thread, which a forked child always is
        signal.set_wakeup_fd(-1)
        for signum in HANDLED_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)


class _HeldSignals(threading.local):
    """The signals of a thread that forks are held back until its child has given them their default.

    Before that, one that the child gets would be written to the wake-up descriptor, which wakes the worker.
    """

    def hold(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)

    def release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def release_in_child(self) -> None:
        reset_signals()
        self.release()


@functools.cache
def reset_signals_in_forks() -> None:
    """To be called in a worker, before the application is loaded or served."""
    held = _HeldSignals()
    os.register_at_fork(before=held.hold, after_in_parent=held.release, after_in_child=held.release_in_child)


class ForkedChild:
    """Detaches forks from the worker. Has to be made once per process, while the event loop runs."""

    def __init__(
        self,
        slot: Slot | None,
        listeners: Iterable[socket.socket],
        transports: Callable[[], Iterable[asyncio.BaseTransport]],
        tasks: SharedTasks,
    ) -> None:
        """`transports` returns those of the connections that are open at the moment of a fork."""
        self._slot, self._listeners, self._transports = slot, list(listeners), transports
        self._tasks = tasks
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._epoll_files = _epoll_files()
        reset_signals_in_forks()
        os.register_at_fork(after_in_child=self._detach)

    def _detach(self) -> None:
        if self._slot is not None:
            self._slot.detach()
        close_listeners(self._listeners)
        self._forget_epoll()
        self._let_go_of_clients()
        # What the loop is about to run is run in the child, too, before the child is noticed to be in it.
        self._tasks.cancel()
        logging.getLogger(WORKERS_LOGGER).disabled = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(_leave_loop)

    def _forget_epoll(self) -> None:
        """Replaces the event loop's epoll by an empty one: it is shared, and removing a file would count."""
        for file in self._epoll_files:
            with select.epoll() as empty:
                os.dup2(empty.fileno(), file, inheritable=False)

    def _let_go_of_clients(self) -> None:
        """Replaces the clients' sockets by a closed one: the worker alone answers and ends connections."""
        ours, peer = socket.socketpair()
        peer.close()
        with ours:
            for transport in self._transports():
                client: Any = transport.get_extra_info("socket")
                if client is not None and client.fileno() >= 0:
                    os.dup2(ours.fileno(), client.fileno(), inheritable=False)


def _epoll_files() -> list[int]:
    """The descriptors of this process that are epoll instances; the event loop's is among them."""
    found = []
    with contextlib.suppress(OSError):  # no /proc, and no epoll either
        for path in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if "[eventpoll]" in str(path.readlink()):
                    found.append(int(path.name))
    return found


def _leave_loop() -> None:
    """Ends a child that has come back into the event loop, for it would serve there.

    An endpoint's `sys.exit` comes here too: Uvicorn takes it for an error of the application. That of a task
    of its own ends the loop, and is obeyed.
    """
    error = sys.exception()
    if isinstance(error, SystemExit):
        leave(error)
    log.warning(
        "A process that the application forked came back into the worker's event loop, and was ended;"
        " end it with os._exit, or use multiprocessing"
    )
    leave(SystemExit(1))
