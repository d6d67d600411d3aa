"""Which of a master's listening sockets carry the application, and which operations."""

import ipaddress
import os
import socket
from typing import Any

from gunicorn.util import parse_address

from coachman.settings import ServerSettings

PUBLIC, OPS = "public", "ops"


def are_inherited() -> bool:
    """Whether systemd or the master before has opened them. Asked before Gunicorn takes them over."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) or "GUNICORN_PID" in os.environ


def kinds(cfg: Any, settings: ServerSettings, names: str | None = None) -> list[str]:
    """PUBLIC or OPS for each socket, in Gunicorn's order.

    `names` are those of inherited sockets, as in LISTEN_FDNAMES: their order is systemd's choice. Sockets
    that Gunicorn has opened are in the order of its addresses.
    """
    if names is not None:
        return [OPS if name == OPS else PUBLIC for name in names.split(":")]
    ops_address = parse_address(settings.ops_bind)
    return [OPS if address == ops_address else PUBLIC for address in cfg.address]


def beyond_loopback(listener: socket.socket) -> str | None:
    """Its address, such as 0.0.0.0:8000, if other machines can reach it. A unix socket is a proxy's."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = listener.getsockname()
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
