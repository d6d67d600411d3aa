"""The worker class that Gunicorn is given: `--worker-class coachman.worker.Worker`."""

import asyncio
import faulthandler
import functools
import os
import signal
import socket
import sys
import time
from typing import Any, NamedTuple, NoReturn

import uvicorn
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as GunicornWorker

from coachman.compiler.loading import announce, compile_loaded
from coachman.logs import gunicorn_logger
from coachman.master.tls_options import tls_of
from coachman.metrics.counters import Metrics
from coachman.metrics.store import Store
from coachman.serving import forked_child
from coachman.serving.serve import (
    ProcessContext,
    limit_uvicorn_logging,
    serve,
    tell_of_exit,
    uvicorn_options,
)
from coachman.settings import ServerSettings, load_settings
from coachman.state.scoreboard import Scoreboard, Slot
from coachman.state.states import State
from coachman.system.event_loop import loop_factory
from coachman.system.process import STOP_SIGNALS, end_with_master, reseed_random_numbers
from coachman.system.sockets import OPS, kinds

BOOT_FAILED = 1  # exit code


class WorkerContext(NamedTuple):
    """What a master with our hooks gives to a worker, in the pre_fork hook."""

    scoreboard: Scoreboard
    slot: Slot
    metrics: Metrics | None
    store: Store | None
    listener_kinds: list[str]  # of the worker's sockets, in their order
    hold_seconds: float  # how long a start-up that has ended is kept back


class Worker(GunicornWorker):
    """Uvicorn under Gunicorn, with an ops listener apart from the public one and a row in the scoreboard.

    Made in the master before each fork; everything from `init_process` on runs in the worker. The master's
    notes on it are in master/managed_worker.py.
    """

    context: WorkerContext | None = None  # None under a master without our hooks

    def __init__(self, *arguments: Any, settings: ServerSettings | None = None) -> None:
        """Gunicorn passes `arguments`; the on_starting hook binds the settings that the master has read."""
        self.settings = settings or _settings_of_plain_gunicorn()
        super().__init__(*arguments)
        self.tls = tls_of(self.cfg)
        gunicorn_logger.attach_uvicorn(self.log.error_log)
        self.config = uvicorn.Config(
            None,  # type: ignore[arg-type]  # serve() names it
            log_config=None,
            timeout_keep_alive=self.cfg.keepalive,
            limit_max_requests=self.max_requests,
            backlog=self.cfg.backlog,
            # For a master without our hooks, which checks Gunicorn's own heartbeat.
            callback_notify=self._notify,
            timeout_notify=1,
            **uvicorn_options(self.settings),
        )

    @staticmethod
    def check_config(cfg: Any, log: Any) -> None:
        """Called once by a master that has not read our configuration, when it listens.

        One that has calls its worker class by another name: see the on_starting hook.
        """
        log.warning(
            "This master has not read Coachman's configuration: it has no supervision, handover or status"
            " page. Start it with `coachman run %s`, or with `gunicorn -c python:coachman.gunicorn_config`.",
            cfg.wsgi_app or "MODULE:APP",
        )

    def init_process(self) -> None:
        reseed_random_numbers()
        super().init_process()

    def init_signals(self) -> None:
        """In the place of Gunicorn's, whose handlers would hide from an application how its children end."""
        for signum in self.SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self.handle_usr1)  # reopens log files
        signal.siginterrupt(signal.SIGUSR1, False)
        # Until the server has started: a worker that is asked to stop before has not failed.
        signal.signal(signal.SIGTERM, self.handle_stop_while_starting)
        signal.signal(signal.SIGQUIT, self.handle_stop_while_starting)
        # Meant for the master, but a terminal sends INT and HUP to all of us. Handlers that do nothing: what
        # is ignored stays so in the programs that an application starts.
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(signum, lambda *_: None)
            signal.siginterrupt(signum, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # blocked since before the fork
        faulthandler.enable(file=2)  # SIGABRT, from the master or from C, leaves the stack of every thread
        forked_child.reset_signals_in_forks()
        os.register_at_fork(after_in_child=self._detach_fork)
        end_with_master(self.ppid)

    def handle_stop_while_starting(self, *_: object) -> NoReturn:
        if self.context is not None:
            self.context.slot.update(state=State.DRAINING, since=time.time())
        os._exit(0)

    def run(self) -> None:
        gunicorn_logger.attach(self.log.error_log)  # a plain Gunicorn's logger has not
        limit_uvicorn_logging(self.settings)
        if self.context is not None and not self.cfg.preload_app:
            # Not below: a refusal is a sentence, and ends the worker with it.
            announce(compile_loaded(self.wsgi, self.settings.compile, self.settings.compile_leave))
        make_loop = loop_factory(self.settings.loop)  # or a sentence, as above
        try:
            with asyncio.Runner(loop_factory=make_loop) as runner:
                exit_code = runner.run(self._serve())
        except (SystemExit, KeyboardInterrupt) as end:
            if tell_of_exit(self.context.slot if self.context is not None else None, end):
                sys.exit(1)
            # Uvicorn's way to say that the start-up failed, with the code that makes Gunicorn end the
            # whole service. With our hooks the master decides that: see Supervisor._worker_has_ended.
            sys.exit(Arbiter.WORKER_BOOT_ERROR if self.context is None else BOOT_FAILED)
        if exit_code:
            sys.exit(exit_code)

    async def _serve(self) -> int:
        context = self.context
        if context is None:
            process, hold_seconds = ProcessContext(None, None, None, self.ppid), 0.0
        else:
            self.config.limit_max_requests = None  # the master recycles, one at a time
            process = ProcessContext(
                context.scoreboard, context.slot, context.metrics, self.ppid, context.store
            )
            hold_seconds = context.hold_seconds
        public, ops = self._listeners()
        return await serve(
            self.wsgi,
            self.config,
            self.settings,
            process,
            public=public,
            ops=ops,
            tls=self.tls,
            hold_seconds=hold_seconds,
        )

    async def _notify(self) -> None:
        self.notify()

    def _listeners(self) -> tuple[list[socket.socket], list[socket.socket]]:
        """The public sockets and the ops listener's."""
        public: list[socket.socket] = []
        ops: list[socket.socket] = []
        if self.context is None:
            kinds_of = kinds(self.cfg.address, self.settings.ops_bind)
        else:
            kinds_of = self.context.listener_kinds
        for kind, listener in zip(kinds_of, self.sockets, strict=True):
            (ops if kind == OPS else public).append(listener.sock)
        return public, ops

    def _detach_fork(self) -> None:
        """Runs in a process that the application forks, also while it is loaded: see forked_child.py."""
        forked_child.close_listeners(listener.sock for listener in self.sockets)


@functools.cache
def _settings_of_plain_gunicorn() -> ServerSettings:
    """Read before the first fork by a master that has no front door of ours."""
    return load_settings()
