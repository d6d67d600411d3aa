"""The worker class that Gunicorn is given: `--worker-class coachman.worker.Worker`."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from typing import Any, ClassVar, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.util import parse_address
from uvicorn_worker import UvicornWorker

from coachman.event_loop import uvicorn_loop
from coachman.scoreboard import Scoreboard, Slot, State
from coachman.server import DRAIN_SECONDS, OpsServer, Server
from coachman.settings import load_settings
from coachman.startup import ReadableStartup

BOOT_FAILED = 1

settings = load_settings()


class Worker(UvicornWorker):
    """Uvicorn under Gunicorn, with an ops listener apart from the public one and a row in the scoreboard.

    Made in the master before each fork; everything from `init_process` on runs in the worker.
    """

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": uvicorn_loop(settings.loop),
        "http": "httptools",
        "interface": "asgi3",  # Uvicorn would guess from the shape of ReadableStartup
        "access_log": False,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        # uvicorn-worker says timeout / 2, so that a loop blocked for half the timeout can already be killed.
        "timeout_notify": 1,
    }

    scoreboard: Scoreboard | None = None
    slot: Slot | None = None
    delay_seconds: float = 0

    def init_signals(self) -> None:
        super().init_signals()
        # Until the server has started: a worker that is told to stop before has not failed.
        signal.signal(signal.SIGTERM, self.handle_stop_while_starting)
        signal.signal(signal.SIGQUIT, self.handle_stop_while_starting)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_stop_while_starting(self, *_: object) -> NoReturn:
        if self.slot is not None:
            self.slot.update(state=State.DRAINING, since=time.time())
        os._exit(0)

    def run(self) -> None:
        if settings.log_level != "debug":
            # Uvicorn tells each step of each start and stop; server.py says the same in two lines.
            logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        try:
            with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
                runner.run(self._serve())
        except SystemExit:
            # Uvicorn's way to say that the start-up failed, with the code that makes Gunicorn end the
            # whole service. With our hooks the master decides that: see hooks.child_exit.
            sys.exit(Arbiter.WORKER_BOOT_ERROR if self.slot is None else BOOT_FAILED)

    async def _serve(self) -> None:
        if self.slot and self.delay_seconds:
            self.log.warning("Slot %s starts its worker in %.2f s", self.slot.number, self.delay_seconds)
            await asyncio.sleep(self.delay_seconds)
            self.slot.update(state=State.STARTING, since=time.time())
        public, ops = self._listeners()
        self.config.app = ReadableStartup(self.wsgi)
        server = Server(self.config, self.ppid, self.scoreboard, self.slot)
        async with OpsServer(self.scoreboard).running(ops):
            await server.serve(sockets=public)

    def _listeners(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """The public sockets and the ops listener's. Gunicorn makes one a bind, in their order."""
        ops_address = parse_address(settings.ops_bind)
        public: list[socket.socket] = []
        ops: list[socket.socket] = []
        for address, listener in zip(self.cfg.address, self.sockets, strict=True):
            (ops if address == ops_address else public).append(listener.sock)
        return public, ops
