"""Listening sockets: reading an address, opening it, and which one carries the application or operations."""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from coachman.system.environment_names import GUNICORN_PID, LISTEN_PID

PUBLIC, OPS = "public", "ops"
UNIX_SOCKET_UMASK = 0o117  # read and write for the user and the group

Address = str | tuple[str, int]  # the path of a unix socket, or host and port


def parse_address(value: str) -> Address:
    """Returns the path of `unix:/path`, else (host, port). Raises ValueError when it is neither."""
    if value.startswith("unix:/"):
        return value.removeprefix("unix:")
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("neither HOST:PORT nor unix:/PATH")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 host must be in brackets")
    return host.strip("[]").lower(), int(port)


def format_address(address: Address) -> str:
    """Returns the address as people write it: /run/x.sock, 127.0.0.1:8000 or [::1]:8000."""
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def are_inherited() -> bool:
    """Whether systemd or the old master opened the sockets. To be asked before Gunicorn takes them over."""
    return os.environ.get(LISTEN_PID) == str(os.getpid()) or GUNICORN_PID in os.environ


def kinds(addresses: Sequence[Address], ops_bind: str, names: str | None = None) -> list[str]:
    """Returns PUBLIC or OPS for each socket, in Gunicorn's order.

    `names` are those of inherited sockets, as in LISTEN_FDNAMES: their order is systemd's choice. Sockets
    that Gunicorn has opened are in the order of its addresses.
    """
    if names is not None:
        return [OPS if name == OPS else PUBLIC for name in names.split(":")]
    ops_address = parse_address(ops_bind)
    return [OPS if address == ops_address else PUBLIC for address in addresses]


def beyond_loopback(listener: socket.socket) -> str | None:
    """Returns the address if other machines can reach it; None for loopback and unix sockets."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = listener.getsockname()
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return None
    return format_address((host, port))


def open_socket(key: str, bind: str) -> socket.socket:
    """Returns a bound socket that does not listen yet, or ends the process with one sentence.

    `key` is the setting that `bind` is the value of.
    """
    address = parse_address(bind)
    with _one_sentence(key, address):
        return _bind_file(Path(address)) if isinstance(address, str) else _bind_port(address)


def require_free(key: str, address: Address) -> None:
    """Ends the process with one sentence where `address` could not be opened; opens nothing itself.

    For Gunicorn, which opens its sockets itself: it tries five times and says little, and it removes a unix
    socket that another process listens on.
    """
    with _one_sentence(key, address):
        if isinstance(address, str):
            _require_free_file(address)
        else:
            with _bind_port(address) as probe:
                probe.listen()


def is_free(address: Address) -> bool:
    """Whether `address` could be opened."""
    try:
        require_free("", address)
    except SystemExit:
        return False
    return True


def are_handed_in() -> bool:
    """Whether systemd or an older master holds the sockets of the service that this process speaks for."""
    return any(key in os.environ for key in ("LISTEN_FDNAMES", "LISTEN_FDS", "INVOCATION_ID"))


def connect(address: Address, seconds: float) -> socket.socket:
    """Returns a connection to a listening socket; `seconds` limits each step. Raises OSError."""
    if not isinstance(address, str):
        return socket.create_connection(address, seconds)
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(seconds)
    try:
        stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream


@contextlib.contextmanager
def _one_sentence(key: str, address: Address) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SystemExit(
            f"Cannot listen on {format_address(address)}: {reason}. Set {key} to an address that is free."
        ) from None


def _bind_port(address: tuple[str, int]) -> socket.socket:
    family, kind, protocol, _, resolved = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(resolved)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_file(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not _is_socket(str(path)):
            raise OSError(errno.EEXIST, "what is there is no socket, and is left as it is")
        if not _is_listening(str(path)):
            path.unlink()  # left behind by a process that was killed
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(UNIX_SOCKET_UMASK)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return listener


def _require_free_file(path: str) -> None:
    if _is_listening(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if os.path.exists(path) and not _is_socket(path):  # noqa: PTH110 - as below
        raise OSError(errno.EEXIST, "what is there is no socket, and is left as it is")
    if not os.access(os.path.dirname(path), os.W_OK):  # noqa: PTH120 - an abstract "\0name" is no Path
        raise OSError(errno.EACCES, "its directory is missing or not writable")


def _is_socket(path: str) -> bool:
    return stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116 - as above


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
