"""How a process serves, whoever has started it: a Gunicorn master (worker.py), or nobody (alone.py)."""

import functools
import logging
import socket
from typing import Any, NamedTuple

import uvicorn

from coachman.asgi import Application
from coachman.edge.connection_table import ConnectionTable
from coachman.edge.disconnects import NoDisconnects
from coachman.edge.http import HttpProtocol
from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectionCounts
from coachman.metrics import store
from coachman.metrics.counters import Metrics
from coachman.ops.app import OpsApp
from coachman.serving import background
from coachman.serving.heartbeat import Heartbeat
from coachman.serving.lifespan import ReadableStartup
from coachman.serving.ops_server import OpsServer
from coachman.serving.request_timeout import RequestTimeout
from coachman.serving.requests.observer import Observer
from coachman.serving.server import Server
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Scoreboard, Slot
from coachman.system.event_loop import uvicorn_loop


class Place(NamedTuple):
    """Of a process among others. Under a master without our hooks there is neither scoreboard nor slot."""

    scoreboard: Scoreboard | None
    slot: Slot | None
    metrics: Metrics | None
    master_pid: int | None


def uvicorn_options(settings: ServerSettings) -> dict[str, Any]:
    return {
        "loop": uvicorn_loop(settings.loop),
        "ws": "websockets-sansio",
        "interface": "asgi3",  # Uvicorn would guess from the shape of ReadableStartup
        "access_log": False,
        "server_header": False,
        # Whoever may connect could else say that it comes from anywhere.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
    }


def quieten_uvicorn(settings: ServerSettings) -> None:
    log = logging.getLogger("uvicorn.error")
    log.addFilter(NoDisconnects())
    if settings.log_level != "debug":
        # Uvicorn tells each step of each start and stop; server.py says the same in two lines.
        log.setLevel(logging.WARNING)


async def serve(
    application: Application,
    config: uvicorn.Config,
    settings: ServerSettings,
    place: Place,
    *,
    public: list[socket.socket],
    ops: list[socket.socket],
    hold_seconds: float = 0,
) -> None:
    """Until SIGTERM, and the drain after it. `hold_seconds`: see ReadableStartup."""
    scoreboard, slot, metrics, master_pid = place
    if settings.request_seconds:
        application = RequestTimeout(application, settings.request_seconds)
    observer = Observer(application, settings, metrics)
    config.app = ReadableStartup(observer if observer.is_asked else application, hold_seconds)
    table = ConnectionTable(Limits.of(settings), RejectionCounts(metrics.limits if metrics else None))
    config.http = functools.partial(HttpProtocol, table=table)  # type: ignore[assignment]  # a factory will do
    ops_server = OpsServer(OpsApp(scoreboard, store.kept(), public, settings.runtime_dir), scoreboard)
    server = Server(config, settings, slot, ops_server)
    heartbeat = Heartbeat(slot, server, master_pid, observer, table, metrics)
    tasks = [
        background.start("heartbeat", heartbeat.run(), server),
        background.start("connection deadlines", table.run(), server),
    ]
    try:
        async with ops_server.running(ops):
            await server.serve(sockets=public)
    finally:
        for task in tasks:
            task.cancel()
        observer.flush()
