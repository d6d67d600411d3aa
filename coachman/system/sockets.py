"""Which of a master's listening sockets carry the application, and which operations."""

import contextlib
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from gunicorn.util import parse_address

PUBLIC, OPS = "public", "ops"


def are_inherited() -> bool:
    """Whether systemd or the master before has opened them. Asked before Gunicorn takes them over."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) or "GUNICORN_PID" in os.environ


def kinds(addresses: Sequence[str | tuple[str, int]], ops_bind: str, names: str | None = None) -> list[str]:
    """PUBLIC or OPS for each socket, in Gunicorn's order.

    `names` are those of inherited sockets, as in LISTEN_FDNAMES: their order is systemd's choice. Sockets
    that Gunicorn has opened are in the order of its addresses.
    """
    if names is not None:
        return [OPS if name == OPS else PUBLIC for name in names.split(":")]
    ops_address = parse_address(ops_bind)
    return [OPS if address == ops_address else PUBLIC for address in addresses]


def beyond_loopback(listener: socket.socket) -> str | None:
    """Its address, such as 0.0.0.0:8000, if other machines can reach it. A unix socket is a proxy's."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = listener.getsockname()
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_socket(key: str, bind: str) -> socket.socket:
    """Bound, not yet listening. Ends the process with one sentence where that is not possible."""
    address = parse_address(bind)
    try:
        if isinstance(address, str):
            return _open_file(Path(address))
        host, port = address
        family, kind, protocol, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(resolved)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SystemExit(
            f"Cannot listen on {bind}: {reason}. Set {key} to an address that is free."
        ) from None
    return listener


def _open_file(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode) and listener.connect_ex(str(path)):
            path.unlink()  # left behind by a process that was killed
        listener.close()
        listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener
