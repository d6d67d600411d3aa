"""What settings of their own kinds have to look like. Each raises ValueError."""

import ipaddress
import re
from typing import Any

from coachman.system.event_loop import ALIASES
from coachman.system.sockets import parse_address


def address(value: str) -> str:
    parse_address(value)
    return value


def host(value: str) -> str:
    """A name, or an IP address, which is in brackets or not when it is one of IPv6."""
    if not re.fullmatch(r"[\w.-]+", value):
        ipaddress.IPv6Address(value.removeprefix("[").removesuffix("]"))
    return value


def loop(value: str) -> str:
    if value in ALIASES or re.fullmatch(r"[\w.]+:[\w.]+", value):
        return value
    raise ValueError("no such loop")


def sizes(value: object) -> object:
    """{"/uploads/": 104857600} of "/uploads/=104857600"."""
    if not isinstance(value, str):
        return value
    pairs = [pair.strip().partition("=") for pair in value.split(",")]
    if not all(prefix.startswith("/") and size.isdecimal() for prefix, _, size in pairs):
        raise ValueError("not /PREFIX=BYTES")
    return {prefix: int(size) for prefix, _, size in pairs}


def proxies(value: str) -> str:
    for proxy in filter(None, value.replace("*", "").split(",")):
        ipaddress.ip_network(proxy.strip())
    return value


def names(value: object) -> object:
    """("a", "b") of "a, b"."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def lowered(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def unless_auto(value: Any) -> Any:
    """None, the value of a setting that decides for itself, where it says so."""
    return None if isinstance(value, str) and value.lower() == "auto" else value


def of_toml(value: Any) -> Any:
    """As the environment would have it: TOML has numbers and truths of its own, and lists."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else value
