"""The worker class that Gunicorn is given: `--worker-class coachman.worker.Worker`."""

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import time
from typing import Any, ClassVar, NoReturn

from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from coachman.master.recycling import Lifetime
from coachman.master.restart_backoff import JUST_READY_SECONDS
from coachman.metrics.counters import Metrics
from coachman.serving.serve import ProcessContext, limit_uvicorn_logging, serve, uvicorn_options
from coachman.settings import load_settings
from coachman.state.scoreboard import Scoreboard, Slot
from coachman.state.states import Reason, State
from coachman.system.process import end_with_master
from coachman.system.sockets import OPS, kinds

BOOT_FAILED = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)

settings = load_settings()


class Worker(UvicornWorker):
    """Uvicorn under Gunicorn, with an ops listener apart from the public one and a row in the scoreboard.

    Made in the master before each fork; everything from `init_process` on runs in the worker.
    """

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        **uvicorn_options(settings),
        # For a master without our hooks, which looks at Gunicorn's own heartbeat: uvicorn-worker beats
        # every timeout / 2, so that a loop blocked for half the timeout can already be killed.
        "timeout_notify": 1,
    }

    scoreboard: Scoreboard | None = None
    slot: Slot | None = None
    metrics: Metrics | None = None
    listener_kinds: list[str] | None = None

    # What the master knows of the worker: see coachman/master/supervisor.py. Times are monotonic.
    forked_at = 0.0
    lifetime: Lifetime
    leaving: Reason | None = None  # it has been told to go, and why
    told_at: float | None = None
    lost: Reason | None = None  # it is being killed, and why
    aborted_at = 0.0

    def init_signals(self) -> None:
        super().init_signals()
        # Until the server has started: a worker that is told to stop before has not failed.
        signal.signal(signal.SIGTERM, self.handle_stop_while_starting)
        signal.signal(signal.SIGQUIT, self.handle_stop_while_starting)
        # Meant for the master, but a terminal sends INT and HUP to all of us. Handlers that do nothing: what
        # is ignored stays so in the programs that an application starts.
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(signum, lambda *_: None)
            signal.siginterrupt(signum, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # blocked since before the fork
        faulthandler.enable(file=2)  # SIGABRT, from the master or from C, leaves the stack of every thread
        os.register_at_fork(after_in_child=self._close_listeners)
        end_with_master(self.ppid)

    def outlived(self, now: float) -> Reason | None:
        """Runs in the master: which limit of its lifetime the worker has passed."""
        assert self.slot is not None
        return self.lifetime.outlived(self.slot.read(), now)

    def was_paused(self, seconds: float) -> None:
        """Runs in the master: what the worker could not use does not count."""
        self.forked_at += seconds
        if self.told_at is not None:
            self.told_at += seconds

    def handle_stop_while_starting(self, *_: object) -> NoReturn:
        if self.slot is not None:
            self.slot.update(state=State.DRAINING, since=time.time())
        os._exit(0)

    def run(self) -> None:
        limit_uvicorn_logging(settings)
        try:
            with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
                exit_code = runner.run(self._serve())
        except SystemExit:
            # Uvicorn's way to say that the start-up failed, with the code that makes Gunicorn end the
            # whole service. With our hooks the master decides that: see Supervisor._has_ended.
            sys.exit(Arbiter.WORKER_BOOT_ERROR if self.slot is None else BOOT_FAILED)
        if exit_code:
            sys.exit(exit_code)

    async def _serve(self) -> int:
        public, ops = self._listeners()
        if self.slot is not None:
            self.config.limit_max_requests = None  # the master recycles, one at a time
        return await serve(
            self.wsgi,
            self.config,
            settings,
            ProcessContext(self.scoreboard, self.slot, self.metrics, self.ppid),
            public=public,
            ops=ops,
            hold_seconds=self._hold_seconds(),
        )

    def _hold_seconds(self) -> float:
        """A generation on trial takes no request before a release that ends at once has ended."""
        is_on_trial = self.scoreboard is not None and self.scoreboard.is_on_trial
        return JUST_READY_SECONDS if is_on_trial else 0.0

    def _listeners(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """The public sockets and the ops listener's."""
        public: list[socket.socket] = []
        ops: list[socket.socket] = []
        kinds_of = self.listener_kinds or kinds(self.cfg.address, settings.ops_bind)
        for kind, listener in zip(kinds_of, self.sockets, strict=True):
            (ops if kind == OPS else public).append(listener.sock)
        return public, ops

    def _close_listeners(self) -> None:
        """Runs in a process that the application forks: it must not keep the port when we are gone."""
        for listener in self.sockets:
            file = listener.sock.detach()  # once: the number is the next file's
            with contextlib.suppress(OSError):
                os.close(file)
