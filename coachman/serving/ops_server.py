"""The server of the operations listener."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coachman.ops.app import OpsApp
from coachman.serving.drain import Drain
from coachman.serving.tasks import SharedTasks
from coachman.state.scoreboard import Scoreboard

TRIAL_POLL_SECONDS = 0.05


class OpsProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, but for clients that end their sending side once they have asked.

    Some health checkers do, and `nc -N`. Uvicorn's closes the connection before the answer is written.
    """

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns whether to keep the connection: until the response, or the last of several, is sent."""
        if self.cycle is None or self.cycle.response_complete:
            return False
        if not self.cycle.response_started:
            self.cycle.keep_alive = False  # else it would stay open for the keep-alive time
        return True


class OpsServer(uvicorn.Server):
    """Answers on the ops listener, apart from the application: its connections and its stop are its own."""

    DRAIN_SECONDS, KEEPALIVE_SECONDS = 2, 1

    def __init__(self, application: OpsApp, scoreboard: Scoreboard | None) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=OpsProtocol,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="none",
                timeout_keep_alive=self.KEEPALIVE_SECONDS,
            )
        )
        # A generation on trial serves it later; until then NiceGUI, which looks at every uvicorn.Server
        # of the process for the application that it serves, would fail at a configuration without one.
        self.config.load()
        self._application, self._scoreboard = application, scoreboard
        self._is_expedited = False

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handles no signal: the public server does, and this one stops after it."""
        yield

    def stop(self, *, expedited: bool) -> None:
        self._is_expedited = expedited
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._application.stop()
        drain = Drain(self, self.DRAIN_SECONDS, self.KEEPALIVE_SECONDS)
        if self._is_expedited:
            drain.expedite()
        await drain.run()
        await super().shutdown()

    @contextlib.asynccontextmanager
    async def running(self, sockets: list[socket.socket], tasks: SharedTasks) -> Any:
        """Serves `sockets` beside what is done meanwhile."""
        if not sockets:
            yield
            return
        serving = tasks.start("operations listener", self._serve_in_turn(sockets))
        try:
            yield
        finally:
            tasks.release(serving)
            self.should_exit = True
            await asyncio.wait([serving])  # if it has died, that has been logged

    async def _serve_in_turn(self, sockets: list[socket.socket]) -> None:
        """A generation that is to take over leaves probes to the one that serves until all of it is ready."""
        while self._scoreboard and self._scoreboard.is_on_trial and not self.should_exit:  # noqa: ASYNC110 - another process ends the trial
            await asyncio.sleep(TRIAL_POLL_SECONDS)
        await self.serve(sockets=sockets)
