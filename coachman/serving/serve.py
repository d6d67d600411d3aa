"""Serves requests in this process, under a Gunicorn master (worker.py) or without one (standalone.py)."""

import asyncio
import functools
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import uvicorn

from coachman.asgi import Application
from coachman.edge.connection_table import ConnectionTable
from coachman.edge.disconnects import NoDisconnects
from coachman.edge.http import HttpProtocol
from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectionCounts
from coachman.metrics.counters import Metrics
from coachman.metrics.store import Store
from coachman.ops.about import About
from coachman.ops.app import OpsApp
from coachman.serving.balance import ConnectionShare
from coachman.serving.drain import open_transports
from coachman.serving.first_startup import LONGEST_WAIT_SECONDS
from coachman.serving.forked_child import ForkedChild
from coachman.serving.heartbeat import Heartbeat
from coachman.serving.lifespan import Lifespan, describe
from coachman.serving.ops_server import OpsServer
from coachman.serving.rebalance import Rebalancer
from coachman.serving.request_timeout import RequestTimeout
from coachman.serving.requests.observer import Observer
from coachman.serving.server import Server
from coachman.serving.tasks import SharedTasks
from coachman.serving.tls_renewal import renew_when_changed
from coachman.serving.uvicorn_versions import websocket_protocol
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Scoreboard, Slot
from coachman.state.states import State
from coachman.system.tls import Tls

FLUSH_SECONDS = 0.1

log = logging.getLogger("coachman.serving")


class ProcessContext(NamedTuple):
    """The process's slot, metrics and parent; all None under a Gunicorn master without Coachman's hooks."""

    scoreboard: Scoreboard | None
    slot: Slot | None
    metrics: Metrics | None
    master_pid: int | None
    store: Store | None = None


def uvicorn_options(settings: ServerSettings) -> dict[str, Any]:
    return {
        "ws": websocket_protocol(),
        "interface": "asgi3",  # Uvicorn would guess from the shape of what stands before the application
        "access_log": False,
        "server_header": False,
        # Whoever may connect could else say that it comes from anywhere.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
        "root_path": settings.root_path,
    }


def limit_uvicorn_logging(settings: ServerSettings) -> None:
    log = logging.getLogger("uvicorn.error")
    log.addFilter(NoDisconnects())
    if settings.log_level != "debug":
        # Uvicorn logs each step of each start and stop; server.py logs the same in two lines.
        log.setLevel(logging.WARNING)


async def serve(
    application: Application,
    config: uvicorn.Config,
    settings: ServerSettings,
    context: ProcessContext,
    *,
    public: list[socket.socket],
    ops: list[socket.socket],
    tls: Tls | None,
    hold_seconds: float = 0,
    watch: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Serves until SIGTERM, and drains. Returns the process's exit code: 0 where the end was asked for.

    `hold_seconds`: for how long nothing is accepted after the application's start-up has ended. `watch`: what
    is done meanwhile where there is no master to do it.
    """
    scoreboard, slot, metrics, master_pid, store = context
    table = ConnectionTable(Limits.of(settings), RejectionCounts(metrics.limits if metrics else None))
    share = _share(scoreboard, slot)
    rebalancer = table.closer = _rebalancer(share, settings, metrics)
    traffic = scoreboard.traffic if scoreboard is not None else None
    tell = functools.partial(traffic.add, slot.number) if traffic is not None and slot is not None else None
    observer = Observer(_with_timeout(application, settings), settings, metrics, tell)
    config.app = observer if observer.is_needed else observer.application
    config.http = functools.partial(HttpProtocol, table=table)  # type: ignore[assignment]  # a factory will do
    config.load()
    about = About.of(application, public, is_tls=tls is not None)
    ops_server = OpsServer(OpsApp(scoreboard, store, public, settings.runtime_dir, about), scoreboard)
    server = Server(config, settings, slot, ops_server, tls=tls, share=share, hold_seconds=hold_seconds)
    config.lifespan_class = functools.partial(
        Lifespan,
        application=application,
        has_ended=server.lifespan_has_ended,
        wait_seconds=min(LONGEST_WAIT_SECONDS, settings.boot_seconds / 4),
    )
    tasks = SharedTasks(server.task_has_died)
    ForkedChild(
        slot, [*public, *ops], lambda: [*open_transports(server), *open_transports(ops_server)], tasks
    )
    tasks.start("heartbeat", Heartbeat(slot, server, master_pid, table, metrics, share, traffic).run())
    if tls is not None:
        tasks.start("renewal of the certificate", renew_when_changed(tls))
    if rebalancer is not None:
        tasks.start("rebalancing of connections", rebalancer.run())
    if watch is not None:
        tasks.start("watch of the service", watch())
    tasks.start("flush of requests", _flush_often(observer))
    tasks.start("deadlines of connections", table.run())
    try:
        async with ops_server.running(ops, tasks):
            await server.serve(sockets=public)
    finally:
        tasks.cancel()
        observer.flush()
    return server.exit_code


def _share(scoreboard: Scoreboard | None, slot: Slot | None) -> ConnectionShare | None:
    """Returns this worker's share of the connections; None without other workers."""
    if scoreboard is None or slot is None or scoreboard.loads is None or scoreboard.is_without_master:
        return None
    return ConnectionShare(scoreboard.loads, slot.number, lambda: scoreboard.service)


def _rebalancer(
    share: ConnectionShare | None, settings: ServerSettings, metrics: Metrics | None
) -> Rebalancer | None:
    if share is None or not settings.rebalance:
        return None
    return Rebalancer(share, metrics.rebalanced.inc if metrics is not None else lambda: None)


def _with_timeout(application: Application, settings: ServerSettings) -> Application:
    if settings.request_seconds:
        return RequestTimeout(application, settings.request_seconds)
    return application


def tell_of_exit(slot: Slot | None, end: BaseException) -> bool:
    """Logs the application's task that ended the event loop. Returns whether there was one.

    An exit in an endpoint is an error of that request alone, but one in a task of its own ends the loop.
    Uvicorn ends a failed start-up in the same way; the reason of that has been told.
    """
    if slot is None or slot.read().state not in (State.READY, State.DRAINING):
        return False
    log.error("A task of the application has ended its process: %s", describe(end))
    return True


async def _flush_often(observer: Observer) -> None:
    """Flushes counts and log lines of finished requests, until it is cancelled."""
    while True:
        observer.flush()
        await asyncio.sleep(FLUSH_SECONDS)
