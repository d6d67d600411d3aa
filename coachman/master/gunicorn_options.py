"""Refuses options of Gunicorn's command line that would have no effect with Coachman's worker.

Dropped in silence, a limit that somebody has set would not be there.
"""

import os
from typing import Any

from gunicorn.config import Config

from coachman.settings import MOST_WORKERS, ServerSettings
from coachman.system.environment_names import LISTEN_PID
from coachman.system.sockets import parse_address

# What to do instead.
WITHOUT_EFFECT = {
    "max_requests": "set COACHMAN_MAX_REQUESTS, by which one worker at a time is replaced",
    "max_requests_jitter": "COACHMAN_MAX_REQUESTS has a jitter of its own, a tenth",
    "limit_request_line": "set COACHMAN_TARGET_BYTES",
    "limit_request_fields": "set COACHMAN_HEAD_FIELDS",
    "limit_request_field_size": "set COACHMAN_HEAD_BYTES",
    "worker_connections": "set COACHMAN_CONNECTIONS",
    "threads": "a worker has one event loop; set COACHMAN_WORKERS",
    "reload": "run `uvicorn --reload` while you work on the application",
    "forwarded_allow_ips": "set COACHMAN_TRUSTED_PROXIES",
    "proxy_protocol": "a proxy in front speaks HTTP, and is named in COACHMAN_TRUSTED_PROXIES",
    "http_protocols": "HTTP/1.1 is served; a proxy in front can speak HTTP/2",
    "asgi_loop": "set COACHMAN_LOOP",
    "asgi_lifespan": "the lifespan is run wherever the application has one",
    "accesslog": "set COACHMAN_ACCESS_LOG=on",
    "access_log_format": "set COACHMAN_LOG_FORMAT",
    "statsd_host": "metrics are read from /metrics of the operations listener",
}


_OF_ADDRESSES = ("COACHMAN_BIND", "COACHMAN_HOST", "COACHMAN_PORT", "COACHMAN_UDS", "COACHMAN_OPS_BIND")


def add_ops_address(server: Any, ops_bind: str) -> None:
    """Gunicorn's --bind replaces both addresses of the configuration: it is meant for the public one."""
    if parse_address(ops_bind) not in server.cfg.address:
        server.cfg.set("bind", [*server.cfg.bind, ops_bind])
        server.address = server.cfg.address


def without_effect() -> list[str]:
    """A sentence for each address among the variables where systemd has opened the sockets.

    To be asked before Gunicorn takes them over.
    """
    if os.environ.get(LISTEN_PID) != str(os.getpid()):
        return []
    return [
        f"{name}={os.environ[name]} has no effect: systemd opens the sockets, and `coachman install --bind`"
        " changes where."
        for name in _OF_ADDRESSES
        if os.environ.get(name)
    ]


def refusal(cfg: Any, settings: ServerSettings) -> str:
    """Why Gunicorn's configuration `cfg` is refused, in one sentence, or nothing."""
    defaults = Config().settings
    for name, instead in WITHOUT_EFFECT.items():
        option = cfg.settings.get(name)
        if option is None:  # newer than this Gunicorn
            continue
        if option.get() != defaults[name].get():
            return f"{option.cli[-1]} {option.get()} has no effect here and is refused: {instead}."
    if cfg.timeout != settings.hang_seconds:
        return f"--timeout {cfg.timeout} has no effect here and is refused: set COACHMAN_HANG_SECONDS."
    if cfg.workers > MOST_WORKERS:
        return f"--workers {cfg.workers} is refused: it must be at most {MOST_WORKERS}."
    if cfg.graceful_timeout <= settings.drain_seconds:
        return (
            f"--graceful-timeout {cfg.graceful_timeout} is refused: it must be above"
            f" COACHMAN_DRAIN_SECONDS={settings.drain_seconds}, or workers are killed while they drain."
        )
    if cfg.keepalive >= settings.drain_seconds:
        return (
            f"--keep-alive {cfg.keepalive} is refused: it must be below"
            f" COACHMAN_DRAIN_SECONDS={settings.drain_seconds}, for an idle connection stays open so long"
            " in a drain too."
        )
    return ""
