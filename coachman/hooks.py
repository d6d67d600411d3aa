"""Gunicorn's hooks. Each says in which process it runs."""

import contextlib
import gc
import importlib
import logging
import os
from typing import Any

import uvicorn
from gunicorn.arbiter import Arbiter

from coachman.logs import formatters
from coachman.master import reexec
from coachman.master.supervisor import Supervisor
from coachman.master.takeover import Succession
from coachman.metrics import store
from coachman.metrics.counters import Metrics
from coachman.settings import MOST_WORKERS, ServerSettings, load_settings
from coachman.state import runtime_dir
from coachman.system import sockets
from coachman.worker import Worker

_TELEMETRY = (  # what FastAPI imports in the lifespan: some tenths of a second, after each fork
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._logs.export",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.trace.export",
)

settings: ServerSettings = load_settings()


def on_starting(server: Supervisor) -> None:
    """Runs in the master, before it listens. Until here it is Gunicorn's own."""
    names = os.environ.get("LISTEN_FDNAMES", "") if sockets.are_inherited() else None
    if names is None:
        for address in server.cfg.address:
            if isinstance(address, (str, tuple)):
                sockets.require_free(_setting_of(address), address)
    if server.num_workers > MOST_WORKERS:
        raise SystemExit(f"--workers {server.num_workers} is refused: it must be at most {MOST_WORKERS}.")
    if server.cfg.graceful_timeout <= settings.drain_seconds:
        raise SystemExit(
            f"--graceful-timeout {server.cfg.graceful_timeout} is refused: it must be above"
            f" COACHMAN_DRAIN_SECONDS={settings.drain_seconds}, or workers are killed while they drain."
        )
    parent = int(os.environ.get("GUNICORN_PID", "0"))
    line = Succession(settings.runtime_dir, parent)
    scoreboard = runtime_dir.open_scoreboard(settings.runtime_dir, os.getpid(), parent=parent)
    scoreboard.update_service(pid=os.getpid(), workers=server.num_workers, generation=line.generation)
    server.__class__ = Supervisor
    formatters.identify(generation=line.generation)
    server.metrics = _make_metrics(line.generation)
    server.adopted(scoreboard, settings, line)
    server.listener_kinds = sockets.kinds(server.cfg.address, settings.ops_bind, names)


def when_ready(server: Supervisor) -> None:
    """Runs in the master, once it listens and before the first fork."""
    if len(server.LISTENERS) != len(server.listener_kinds):
        raise SystemExit(
            f"There are {len(server.LISTENERS)} sockets for {len(server.listener_kinds)} names:"
            " LISTEN_FDNAMES must name each socket that is handed in, and --reuse-port is not supported."
        )
    _tell_application_of_exposure(server)
    _announce(server)
    _import_what_workers_need(server)
    # What is loaded by now lives as long as the master. Out of the collector's sight its pages stay
    # shared with the workers: a collection writes into the header of every object that it visits.
    gc.collect()
    gc.freeze()


def _tell_application_of_exposure(server: Supervisor) -> None:
    """Runs in the master. An application may want keys where others than this machine reach it."""
    os.environ.pop("COACHMAN_EXPOSED", None)
    for kind, listener in zip(server.listener_kinds, server.LISTENERS, strict=True):
        address = sockets.beyond_loopback(listener.sock)
        if kind != sockets.OPS and address:
            os.environ["COACHMAN_EXPOSED"] = address


def pre_fork(server: Supervisor, worker: Worker) -> None:
    """Runs in the master."""
    # For an application that shares something out among the workers, as connections; a scale changes it.
    os.environ["COACHMAN_WORKER_COUNT"] = str(server.num_workers)
    server.equip(worker)


def post_fork(server: Supervisor, worker: Worker) -> None:
    """Runs in the new worker."""
    assert worker.slot is not None
    worker.slot.update(pid=os.getpid())
    formatters.identify(slot=worker.slot.number)
    if (counts := store.kept()) is not None:
        counts.become_worker(worker.slot.number, server.scoreboard.service.generation)


def pre_exec(server: Supervisor) -> None:
    """Runs in the master's fork that becomes the next master."""
    reexec.prepare(server)


def on_exit(server: Arbiter) -> None:
    """Runs in the master, last."""
    runtime_dir.withdraw(settings.runtime_dir, os.getpid())


def _make_metrics(generation: int) -> Metrics | None:
    if (counts := store.kept()) is None:
        return None
    counts.become_master(generation)
    metrics = Metrics()
    metrics.begin_at_zero()
    return metrics


def _import_what_workers_need(server: Arbiter) -> None:
    """Uvicorn and anyio import much at their first use, which would be after each fork.

    Here it is done once and shared: it halves the time from kill -9 to the next answer.
    """
    config = uvicorn.Config(server.app.wsgi(), log_config=None, **Worker.CONFIG_KWARGS)
    config.get_loop_factory()
    config.load()
    if any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ):
        for module in _TELEMETRY:
            with contextlib.suppress(ImportError):  # without the extra, which FastAPI complains of
                importlib.import_module(module)
    with contextlib.suppress(ImportError):  # an application without anyio, or an anyio without this module
        importlib.import_module("anyio._backends._asyncio")


def _setting_of(address: sockets.Address) -> str:
    return "COACHMAN_OPS_BIND" if sockets.parse_address(settings.ops_bind) == address else "COACHMAN_BIND"


def _announce(server: Supervisor) -> None:
    held_by = settings.worker_count()[1]
    message = "%s workers (%s), master pid %s"
    server.events.tell(logging.INFO, "started", message, server.num_workers, held_by, os.getpid())
    for kind, listener in zip(server.listener_kinds, server.LISTENERS, strict=True):
        if kind == sockets.OPS:
            server.log.info("Status page: %s/ (also /readyz, /metrics)", listener)
        else:
            server.log.info("Serving on: %s%s", listener, _docs(server.app.wsgi(), listener))


def _docs(application: Any, listener: Any) -> str:
    """FastAPI names its page so; an application of another kind, or without docs, has no such route."""
    for route in getattr(application, "routes", ()):
        if getattr(route, "name", None) == "swagger_ui_html":
            return f" (interactive docs: {listener}{route.path})"
    return ""
