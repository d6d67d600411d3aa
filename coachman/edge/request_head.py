"""What a request's head must be: decisions on its fields, without a connection. Names are in lower case."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectedError, Rejection

Fields = Sequence[tuple[bytes, bytes]]

REMEMBERED_HOSTS = 1000
HANDSHAKE_LINE_BYTES, HANDSHAKE_FIELDS = 8192, 128  # of the package websockets
# RFC 3986, 3.2.2: an IP literal or a name, and a port. An empty one is for targets without an authority.
HOST = re.compile(
    rb"(?:\[(?:[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+)\]"
    rb"|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
ABSOLUTE = re.compile(rb"https?://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)

valid_hosts: set[bytes] = set()  # an expression for each request would cost as much as all other checks


class Target(NamedTuple):
    """A request-target, once an absolute one has been taken apart (RFC 9112, 3.2.2)."""

    origin_form: bytes  # path and query
    authority: bytes | None


def parse_target(method: bytes, target: bytes) -> Target:
    """Parses a target that does not begin with a slash. Raises RejectedError where it is not allowed."""
    if target == b"*" and method == b"OPTIONS":
        return Target(target, None)
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise RejectedError(Rejection.MALFORMED)
    authority, rest = absolute.groups()
    if not is_valid_host(authority):
        raise RejectedError(Rejection.HOST)
    if not rest:
        rest = b"*" if method == b"OPTIONS" else b"/"
    return Target(rest if rest.startswith((b"/", b"*")) else b"/" + rest, authority)


def with_host(fields: Fields, authority: bytes) -> list[tuple[bytes, bytes]]:
    """The host of an absolute target takes the place of the Host header's (RFC 9112, 3.2.2)."""
    return [(name, authority if name == b"host" else value) for name, value in fields]


def is_valid_host(value: bytes) -> bool:
    if value in valid_hosts:
        return True
    if HOST.fullmatch(value) is None:
        return False
    if len(valid_hosts) < REMEMBERED_HOSTS:
        valid_hosts.add(value)
    return True


def tokens(fields: Fields, name: bytes) -> list[bytes]:
    """The elements of a list that may stand in several lines (RFC 9110, 5.3), in lower case."""
    values = (value for field, value in fields if field == name)
    return [token for value in values for part in value.split(b",") if (token := part.strip().lower())]


def is_websocket_handshake(version: str, fields: Fields) -> bool:
    """Whether the request asks for a WebSocket. HTTP/1.0 has no Upgrade (RFC 9110, 7.8)."""
    return (
        version == "1.1"
        and b"upgrade" in tokens(fields, b"connection")
        and b"websocket" in tokens(fields, b"upgrade")
    )


def has_body(fields: Fields) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in fields
    )


def handshake_rejection(method: bytes, target: bytes, fields: Fields) -> Rejection | None:
    """Why a WebSocket's handshake is not handed over; None where it is.

    The parser behind has limits of its own, and Uvicorn answers nothing beyond them: the client would wait
    for ever.
    """
    if method != b"GET" or has_body(fields):
        return Rejection.UPGRADE
    longest = max(len(target) + 11, *(len(name) + len(value) for name, value in fields))  # GET, HTTP/1.1
    if longest + 4 > HANDSHAKE_LINE_BYTES or len(fields) > HANDSHAKE_FIELDS:
        return Rejection.HANDSHAKE
    return None


def expects_100(version: str, fields: Fields) -> bool:
    """Whether the client waits for 100 Continue; one with HTTP/1.0 does not know it (RFC 9110, 15.2)."""
    return version == "1.1" and b"100-continue" in tokens(fields, b"expect")


def check_size(target: bytes, fields: Fields, limits: Limits) -> None:
    if len(target) > limits.target_bytes:
        raise RejectedError(Rejection.TARGET_BYTES)
    if len(fields) > limits.head_fields:
        raise RejectedError(Rejection.HEAD_FIELDS)
    if len(target) + sum(len(name) + len(value) + 4 for name, value in fields) > limits.head_bytes:
        raise RejectedError(Rejection.HEAD_BYTES)


def check_host(version: str, fields: Fields) -> None:
    """Raises RejectedError unless there is exactly one valid Host. HTTP/1.0 may have none."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and version != "1.0") or not all(map(is_valid_host, hosts)):
        raise RejectedError(Rejection.HOST)


def body_limit(
    version: str, target: bytes, fields: Fields, by_name: dict[bytes, bytes], limits: Limits
) -> int:
    """How many bytes the body may have. Raises RejectedError where the head announces more."""
    limit = limits.body_bytes
    if limits.body_bytes_below:
        limit = limits.body_bytes_for(target.decode("latin-1"))
    # The parser has accepted the length: there is one, of digits that fit into 64 bits.
    if b"content-length" in by_name and int(by_name[b"content-length"]) > limit:
        raise RejectedError(Rejection.BODY_BYTES)
    if b"transfer-encoding" in by_name:
        if version == "1.0":  # whoever sent it may have read another end of the body (RFC 9112, 6.1)
            raise RejectedError(Rejection.MALFORMED)
        check_transfer_coding(tokens(fields, b"transfer-encoding"))
    return limit


def check_transfer_coding(codings: list[bytes]) -> None:
    """A body has an end only if it is chunked last, and once (RFC 9112, 6.3)."""
    if codings.count(b"chunked") != 1 or codings[-1] != b"chunked":
        raise RejectedError(Rejection.MALFORMED)
    if len(codings) > 1:
        raise RejectedError(Rejection.TRANSFER_CODING)
