"""The parts of an address that people name one by one."""

from pathlib import Path

from coachman.system.sockets import parse_address


def with_parts(bind: str, host: object, port: object, uds: object) -> str:
    """The address, with another host or another port where one is given; or the unix socket."""
    if not isinstance(host, str | None) or not isinstance(uds, str | None):
        return bind  # refused by its own field
    if uds:
        return f"unix:{Path(uds.removeprefix('unix:')).absolute()}"
    if (not host and port is None) or not _is_port("0" if port is None else str(port)):
        return bind  # a port that is none is refused by its own field
    try:
        old = parse_address(bind)
    except ValueError:
        return bind  # refused by its own field
    old_host, old_port = old if isinstance(old, tuple) else ("127.0.0.1", 8000)
    host = (host or old_host).strip("[]")
    return f"{f'[{host}]' if ':' in host else host}:{old_port if port is None else port}"


def _is_port(value: str) -> bool:
    return value.isdecimal() and int(value) <= 65535
