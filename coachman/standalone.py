"""`coachman serve`: one process without a master, where an engine supervises, scales and replaces it.

It serves as a worker does, and says of itself what a master with one worker would say.
"""

import asyncio
import faulthandler
import functools
import logging
import os
import signal
import socket
import sys
import time

import uvicorn

from coachman.asgi import Application
from coachman.compiler.loading import announce, compile_loaded
from coachman.logs import formatters
from coachman.metrics import store
from coachman.metrics.counters import Metrics
from coachman.metrics.store import Store
from coachman.serving.serve import (
    ProcessContext,
    limit_uvicorn_logging,
    serve,
    tell_of_exit,
    uvicorn_options,
)
from coachman.settings import ServerSettings, load_settings, misspelled_settings
from coachman.state import runtime_dir
from coachman.state.events import Events
from coachman.state.history import History
from coachman.state.scoreboard import Scoreboard
from coachman.system import stdio
from coachman.system.app_loader import load
from coachman.system.environment_names import EXPOSED, WORKER_COUNT
from coachman.system.event_loop import loop_factory
from coachman.system.process import START_FAILED
from coachman.system.sockets import beyond_loopback, open_socket
from coachman.system.tls import Tls, make_tls

LOOK_SECONDS = 0.5

log = logging.getLogger("coachman.standalone")


def run() -> None:
    """Serves until SIGTERM or Ctrl-C, and drains."""
    _set_signals()
    settings = load_settings()
    stdio.make_nonblocking()
    formatters.write_to_stderr(settings.log_format, settings.log_level)
    for sentence in misspelled_settings():
        log.warning("%s", sentence)
    counts_in = store.keep(settings.runtime_dir) if settings.metrics else None
    application = load(settings.app, str(settings.app_dir), factory=settings.factory)
    announce(compile_loaded(application, settings.compile, settings.compile_leave))
    make_loop = loop_factory(settings.loop)
    config = uvicorn.Config(application, log_config=None, **uvicorn_options(settings))
    tls = make_tls(settings.certfile, settings.keyfile)
    public = open_socket("COACHMAN_BIND", settings.bind)
    ops = open_socket("COACHMAN_OPS_BIND", settings.ops_bind)
    _tell_application(beyond_loopback(public))
    context = _make_context(settings, counts_in)
    limit_uvicorn_logging(settings)
    events = Events(settings.runtime_dir, 1)
    events.emit(logging.INFO, "started", "One process without a master, pid %s", os.getpid())
    log.info("Serving on: %s; operations on: %s", settings.bind, settings.ops_bind)
    if (settings.workers or 1) > 1:
        log.warning("COACHMAN_WORKERS=%s is not used: this is one process; run more", settings.workers)
    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            exit_code = runner.run(_serve(application, config, settings, context, events, tls, public, ops))
    except (SystemExit, KeyboardInterrupt) as end:  # the first is Uvicorn's way to say that a start-up failed
        if tell_of_exit(context.slot, end):
            sys.exit(1)
        log.error("The application did not start; nothing is served.")
        sys.exit(START_FAILED)
    finally:
        runtime_dir.withdraw(settings.runtime_dir, os.getpid())
    sys.exit(exit_code)


async def _serve(
    application: Application,
    config: uvicorn.Config,
    settings: ServerSettings,
    context: ProcessContext,
    events: Events,
    tls: Tls | None,
    public: socket.socket,
    ops: socket.socket,
) -> int:
    scoreboard = context.scoreboard
    assert scoreboard is not None
    watch = functools.partial(_watch, scoreboard, events, History(settings.runtime_dir, 1))
    return await serve(
        application, config, settings, context, public=[public], ops=[ops], tls=tls, watch=watch
    )


async def _watch(scoreboard: Scoreboard, events: Events, history: History) -> None:
    """What a master does each time that its loop turns: the status page tells of it."""
    while True:
        scoreboard.record_readiness()
        events.poll(scoreboard)
        history.poll(scoreboard)
        await asyncio.sleep(LOOK_SECONDS)


def _set_signals() -> None:
    # The first process of a container has no default actions: without a handler it would ignore SIGTERM.
    # Until the server has started: it sets its own then.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(signum, lambda *_: None)  # a master's: there is nothing to reload, hand over or scale
    faulthandler.enable(file=2)


def _tell_application(exposed: str | None) -> None:
    os.environ[WORKER_COUNT] = "1"
    os.environ.pop(EXPOSED, None)
    if exposed:
        os.environ[EXPOSED] = exposed


def _make_context(settings: ServerSettings, counts_in: Store | None) -> ProcessContext:
    scoreboard = runtime_dir.open_scoreboard(settings.runtime_dir, os.getpid())
    scoreboard.update_service(pid=os.getpid(), workers=1, slots=1)
    slot = scoreboard.slots[0]
    slot.write(slot.read().at_fork(time.time())._replace(pid=os.getpid()))
    formatters.identify(generation=1, slot=0)
    metrics = None
    if counts_in is not None:
        counts_in.use_master_files(1)
        metrics = Metrics()
        metrics.begin_at_zero()
        counts_in.use_slot_files(0, 1)
    return ProcessContext(scoreboard, slot, metrics, master_pid=None, store=counts_in)
