"""Gunicorn's hooks. Each says in which process it runs."""

import contextlib
import errno
import gc
import importlib
import os
import socket
import time
from typing import Any

import uvicorn
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.util import parse_address

from coachman import backoff
from coachman.capacity import default_workers
from coachman.scoreboard import Row, Scoreboard, State
from coachman.settings import ServerSettings, load_settings
from coachman.worker import Worker

START_FAILED = 3

settings: ServerSettings = load_settings()
scoreboard = Scoreboard.create()


def on_starting(server: Arbiter) -> None:
    """Runs in the master, before it listens."""
    for address in server.cfg.address:
        if isinstance(address, (str, tuple)):
            _refuse_taken(address)
    scoreboard.update_service(pid=os.getpid(), workers=server.num_workers)


def when_ready(server: Arbiter) -> None:
    """Runs in the master, once it listens and before the first fork."""
    _announce(server)
    _import_what_workers_need(server)
    # What is loaded by now lives as long as the master. Out of the collector's sight its pages stay
    # shared with the workers: a collection writes into the header of every object that it visits.
    gc.collect()
    gc.freeze()


def nworkers_changed(server: Arbiter, new_value: int, old_value: int | None) -> None:
    """Runs in the master, at SIGTTIN and SIGTTOU, and once before on_starting."""
    scoreboard.update_service(workers=new_value)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Runs in the master: gives the worker the lowest slot that no living worker holds."""
    held = {sibling.slot.number for sibling in server.WORKERS.values()}
    number = min(set(range(len(held) + 1)) - held)
    worker.scoreboard, worker.slot = scoreboard, scoreboard.slots[number]
    scoreboard.update_service(slots=max(scoreboard.service.slots, number + 1))
    before = worker.slot.read()
    worker.delay_seconds = backoff.delay_seconds(before.failures)
    worker.slot.write(
        Row(
            state=State.BACKING_OFF if worker.delay_seconds else State.STARTING,
            since=time.time(),
            restarts=before.restarts + (before.state != State.EMPTY),
            failures=before.failures,
        )
    )


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Runs in the new worker."""
    assert worker.slot is not None
    worker.slot.update(pid=os.getpid())


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Runs in the master, once it has reaped the worker.

    A worker that cannot start ends the service only if the service has never been ready: later its
    siblings serve on, and its slot is tried again. Gunicorn would end it either way.
    """
    assert worker.slot is not None
    row = worker.slot.read()
    failures = row.failures + 1 if backoff.is_failure(row, time.time()) else 0
    worker.slot.update(state=State.DEAD, since=time.time(), in_flight=0, connections=0, failures=failures)
    stopping = not server.LISTENERS
    if failures and not scoreboard.was_ready and not stopping:
        raise HaltServer("A worker did not start, and the service had never been ready.", START_FAILED)


def _import_what_workers_need(server: Arbiter) -> None:
    """Uvicorn and anyio import much at their first use, which would be after each fork.

    Here it is done once and shared: it halves the time from kill -9 to the next answer.
    """
    config = uvicorn.Config(server.app.wsgi(), log_config=None, **Worker.CONFIG_KWARGS)
    config.get_loop_factory()
    config.load()
    with contextlib.suppress(ImportError):  # an application without anyio, or an anyio without this module
        importlib.import_module("anyio._backends._asyncio")


def _refuse_taken(address: str | tuple[str, int]) -> None:
    """Gunicorn would try five times and say little; and it unlinks a socket file that is in use."""
    shown = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
    key = "COACHMAN_OPS_BIND" if parse_address(settings.ops_bind) == address else "COACHMAN_BIND"
    try:
        if isinstance(address, str):
            _try_file(address)
        else:
            _try_port(address)
    except OSError as error:
        raise SystemExit(
            f"Cannot listen on {shown}: {_reason(error)}. Set {key} to an address that is free."
        ) from None


def _try_port(address: tuple[str, int]) -> None:
    family, kind, protocol, _, resolved = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(resolved)
        probe.listen()


def _try_file(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if not os.access(os.path.dirname(path), os.W_OK):  # noqa: PTH120 - an abstract "\0name" is no Path
        raise OSError(errno.EACCES, "its directory is missing or not writable")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _announce(server: Arbiter) -> None:
    held_by = "as told" if settings.workers else default_workers()[1]
    server.log.info("%s workers (%s), master pid %s", server.num_workers, held_by, os.getpid())
    ops_address = parse_address(settings.ops_bind)
    for address, listener in zip(server.cfg.address, server.LISTENERS, strict=False):
        if address == ops_address:
            server.log.info("Operations: %s/readyz", listener)
        else:
            server.log.info("Serving on: %s%s", listener, _docs(server.app.wsgi(), listener))


def _docs(application: Any, listener: Any) -> str:
    """FastAPI names its page so; an application of another kind, or without docs, has no such route."""
    try:
        return f" (interactive docs: {listener}{application.url_path_for('swagger_ui_html')})"
    except (AttributeError, LookupError, RuntimeError):
        return ""
