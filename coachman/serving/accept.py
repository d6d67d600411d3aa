"""Accepts connections in turn with the other workers that share a listening socket.

Event loops accept whatever waits as soon as they wake. Here a worker that has more to do than another one
leaves a connection to it for a moment, and takes it when that one has not.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from coachman.serving.balance import ConnectionShare
from coachman.system.tls import Tls

MAX_BATCH = 16  # connections of a burst accepted before the loop turns to those that it has
LOOK_SECONDS = 0.001  # while one waits: between two checks of who has less to do
HANDSHAKE_SECONDS = 10.0  # of TLS; an honest client needs some tenths
MAX_HANDSHAKES = 500  # at a time, in one worker: behind them a connection counts, and has deadlines
TLS_SHUTDOWN_SECONDS = 2.0  # for the peer's part of the end of a connection
RETRY_SECONDS = 0.5  # where the process or the machine has no room for another connection
_CLIENT_GONE = (ConnectionError, InterruptedError, ssl.SSLError, TimeoutError)

log = logging.getLogger("coachman.serving")


def is_supported(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop is known to have `add_reader` and `connect_accepted_socket`: asyncio's and uvloop."""
    return isinstance(loop, asyncio.SelectorEventLoop) or type(loop).__module__.startswith("uvloop")


def tls_options(tls: Tls | None) -> dict[str, Any]:
    """The TLS options for an event loop's transports."""
    if tls is None:
        return {}
    return {
        "ssl": tls.context,
        "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        "ssl_shutdown_timeout": TLS_SHUTDOWN_SECONDS,
    }


class FairListener:
    """A listening socket of any family: what Uvicorn needs of the server that `loop.create_server` makes."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        share: ConnectionShare,
        tls: Tls | None,
    ) -> None:
        listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._listener, self._protocol, self._share = listener, protocol, share
        self._tls = tls_options(tls)
        self._timer: asyncio.TimerHandle | None = None
        self._paused_until = 0.0  # by the loop's clock
        self._handshakes: set[asyncio.Task[None]] = set()  # of TLS
        self._is_burst = False  # the last time there was no end of them: to ask for one more costs a call
        self._is_serving = True
        self._is_accepting = True
        self._loop.add_reader(listener, self._poll)

    def close(self) -> None:
        """Stops accepting. The socket is the master's, and stays open in other workers."""
        if not self._is_serving:
            return
        self._is_serving = False
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._loop.remove_reader(self._listener)
        self._listener.close()

    async def wait_closed(self) -> None: ...

    def _poll(self) -> None:
        """Called while connections wait: takes some, or leaves them to others for a moment.

        Behind the first one nobody may wait, and a pause would keep the next one out: the loop asks again.
        """
        if delay := self._share.accept_delay():
            self._pause(delay)
            return
        is_burst, self._is_burst = self._is_burst, False
        for _ in range(MAX_BATCH if is_burst else 1):
            if not self._accept() or self._share.accept_delay():
                return
        self._is_burst = True

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._paused_until = self._loop.time() + seconds
        self._timer = self._loop.call_later(min(seconds, LOOK_SECONDS), self._look)

    def _look(self) -> None:
        """Ends a pause early where this worker has meanwhile come to be the one to take the connection.

        Ends it, too, where that cannot be found out: nothing else has the worker accept again.
        """
        rest = self._paused_until - self._loop.time()
        is_paused = False
        try:
            is_paused = rest > 0 and self._share.accept_delay() > 0
        finally:
            if is_paused:
                self._timer = self._loop.call_later(min(rest, LOOK_SECONDS), self._look)
            else:
                self._resume()

    def _resume(self) -> None:
        """Takes one connection, if nobody with less to do has; for the next one it is decided anew."""
        self._timer = None
        self._loop.add_reader(self._listener, self._poll)
        self._accept()

    def _accept(self) -> bool:
        """Accepts a connection. Returns whether there was one."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # such as EMFILE: asked again at once, it would be the same
            self._report_failure(error)
            return False
        self._is_accepting = True
        if self._tls and len(self._handshakes) >= MAX_HANDSHAKES:
            connection.close()
            return True
        self._share.accepting()
        # As in asyncio's own listener nothing here holds the task: what it waits for does.
        task = self._loop.create_task(self._attach(connection))
        if self._tls:
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
        return True

    async def _attach(self, connection: socket.socket) -> None:
        """Makes the connection's transport and protocol, which adds itself to the share's connections."""
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
        except _CLIENT_GONE:
            self._give_up(connection)
        except Exception:
            log.exception("A connection could not be served")
            self._give_up(connection)

    def _give_up(self, connection: socket.socket) -> None:
        connection.close()
        self._share.accept_failed()

    def _report_failure(self, error: OSError) -> None:
        if self._is_accepting:
            self._is_accepting = False
            log.error("Cannot accept connections (%s); tried again every %g s", error, RETRY_SECONDS)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(RETRY_SECONDS, self._resume)
