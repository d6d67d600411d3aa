"""Uvicorn's server as one worker runs it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Generator
from typing import Any

import uvicorn

from coachman.ops.health import HealthApp
from coachman.scoreboard import Scoreboard, Slot, State

DRAIN_SECONDS = 20  # below graceful_timeout in gunicorn.conf.py, after which the master kills
QUICK_STOP_SECONDS = 1

log = logging.getLogger("gunicorn.error")


class Server(uvicorn.Server):
    """Serves the application, and keeps this worker's row of the scoreboard.

    Without a slot (a worker under a master without our hooks) there is no row to keep.
    """

    def __init__(
        self, config: uvicorn.Config, master_pid: int, scoreboard: Scoreboard | None, slot: Slot | None
    ) -> None:
        super().__init__(config)
        self._master_pid, self._scoreboard, self._slot = master_pid, scoreboard, slot

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals as the worker has set them.

        A terminal's Ctrl-C reaches the workers too. Uvicorn would stop on it and then die of it, and
        the master would report each worker as killed.
        """
        yield

    def handle_term(self) -> None:
        self.should_exit = True

    def handle_quit(self) -> None:
        self.config.timeout_graceful_shutdown = QUICK_STOP_SECONDS
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        begun = time.monotonic()
        await super().startup(sockets=sockets)
        # Only the master says when to stop: SIGTERM drains, SIGQUIT hurries.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.handle_term)
        loop.add_signal_handler(signal.SIGQUIT, self.handle_quit)
        self._record(state=State.READY, since=time.time())
        if self._scoreboard is not None:
            self._scoreboard.note_readiness()
        log.info("Worker %s is ready after %.2f s", self._name(), time.monotonic() - begun)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        self._record(
            requests=self.server_state.total_requests,
            in_flight=len(self.server_state.tasks),
            connections=len(self.server_state.connections),
        )
        if os.getppid() != self._master_pid:
            # An orphan would go on accepting from the shared socket, beside the next master's workers.
            log.warning("The master %s is gone", self._master_pid)
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._record(state=State.DRAINING, since=time.time())
        log.info("Worker %s stops", self._name())
        # Closing the loop's servers closes the sockets too; Gunicorn logs a second close as an error.
        await super().shutdown()

    def _record(self, **changes: Any) -> None:
        if self._slot is not None:
            self._slot.update(**changes)

    def _name(self) -> str:
        return f"in slot {self._slot.number}" if self._slot else "without a slot"


class OpsServer(uvicorn.Server):
    """Answers on the ops listener, apart from the application: its connections and its stop are its own."""

    def __init__(self, scoreboard: Scoreboard | None) -> None:
        super().__init__(
            uvicorn.Config(
                HealthApp(scoreboard), lifespan="off", log_config=None, access_log=False, ws="none"
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the public server's; this one stops when it has."""
        yield

    @contextlib.asynccontextmanager
    async def running(self, sockets: list[socket.socket]) -> Any:
        if not sockets:
            yield
            return
        serving = asyncio.create_task(self.serve(sockets=sockets))
        try:
            yield
        finally:
            self.should_exit = True
            await serving
