"""Graceful shutdown of a worker's connections.

Uvicorn closes idle keep-alive connections at once; a client that has just sent its next request on one
gets a reset. Here it gets an answer, which says `connection: close`.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from coachman.serving.uvicorn_versions import is_open_websocket

QUICK_STOP_SECONDS = 1
_POLL_SECONDS = 0.05

log = logging.getLogger("coachman.serving")


class Drain:
    """Closes the connections of one server, whose listening sockets are closed already.

    Uvicorn's connections are read in this file alone: `transport` of all, `cycle` of HTTP connections
    (the request they answer or answered last) and `headers` (None until one begins) of HTTP connections,
    whether the handshake of WebSockets is complete.
    """

    def __init__(self, server: uvicorn.Server, seconds: float, keepalive_seconds: float) -> None:
        self._server, self._state = server, server.server_state
        self._ends_at = time.monotonic() + seconds
        self._close_idle_at = time.monotonic() + keepalive_seconds
        self._is_expedited = False
        self.requests_cut = 0  # which were still open when the time was over
        self._closed_websockets: set[Any] = set()  # to close one twice is an error

    def expedite(self) -> None:
        """SIGQUIT: idle connections close at once, requests have a second."""
        self._is_expedited = True
        self._ends_at = min(self._ends_at, time.monotonic() + QUICK_STOP_SECONDS)
        self._close_idle_at = 0.0

    async def run(self) -> None:
        self._announce()
        # What was accepted last becomes a connection in the loop's next turns, and may ask something then.
        await asyncio.sleep(_POLL_SECONDS)
        refreshed_at = time.monotonic()
        while self._state.connections or self._state.tasks:
            now = time.monotonic()
            if now >= self._ends_at:
                break
            self._close_websockets()
            if now >= self._close_idle_at:
                self._close_idle()
            if now - refreshed_at >= 1:
                refreshed_at = now
                await self._server.on_tick(0)  # the date header, and Gunicorn's own heartbeat
            await asyncio.sleep(_POLL_SECONDS)
        await self._abort_remaining()

    async def _abort_remaining(self) -> None:
        """Aborts the requests that are still open: the application receives http.disconnect.

        Uvicorn then finds no connection.
        """
        remaining = list(self._state.connections)
        self.requests_cut = len(self._state.tasks)
        for connection in remaining:
            connection.transport.abort()
        if remaining:
            await asyncio.sleep(_POLL_SECONDS)  # the loop reports the end of a connection later

    def _announce(self) -> None:
        config = self._server.config
        config.encoded_headers = [*config.encoded_headers, (b"connection", b"close")]
        # Requests under way hold this list; the next ones get one made from the configuration.
        self._state.default_headers.append((b"connection", b"close"))
        for connection in self._http():
            cycle = connection.cycle
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False  # its list may be an older one

    def _close_idle(self) -> None:
        """Closes connections without a request, which have no timer; when expedited, all idle ones."""
        for connection in self._http():
            if self._is_expedited or (connection.cycle is None and connection.headers is None):
                _shut_down(connection)

    def _close_websockets(self) -> None:
        """Closes WebSockets with 1012, "service restart", and waits for those in their handshake."""
        for connection in list(self._state.connections):
            if is_open_websocket(connection) and connection not in self._closed_websockets:
                self._closed_websockets.add(connection)
                if not connection.transport.is_closing():  # else its client has closed it, but reads nothing
                    _shut_down(connection)

    def _http(self) -> Iterator[Any]:
        return (connection for connection in list(self._state.connections) if hasattr(connection, "cycle"))


def _shut_down(connection: Any) -> None:
    """Closes a connection, or aborts it where that fails, so that the others are drained all the same."""
    try:
        connection.shutdown()
    except Exception:
        log.exception("A connection could not be closed; it is aborted, the others are not affected")
        connection.transport.abort()


def open_transports(server: uvicorn.Server) -> Iterator[asyncio.BaseTransport]:
    """Returns the transports of the server's connections, of HTTP and of WebSockets."""
    return (
        connection.transport for connection in list(server.server_state.connections) if connection.transport
    )
