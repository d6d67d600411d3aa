"""Removes Upgrade from a request head, so that the body is parsed (RFC 9110, 7.8)."""

from collections.abc import Iterable

import httptools

UPGRADE_FIELDS = (b"upgrade", b"http2-settings")


def head_without_upgrade(
    parser: httptools.HttpRequestParser, target: bytes, fields: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The rebuilt head, for a fresh parser. `parser` has read it; `fields` have names in lower case."""
    lines = [b"%s %s HTTP/%s\r\n" % (parser.get_method(), target, parser.get_http_version().encode())]
    for name, value in fields:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            value = b", ".join(token for token in tokens if token.lower() not in UPGRADE_FIELDS)
        if name not in UPGRADE_FIELDS and (value or name != b"connection"):
            lines.append(b"%s: %s\r\n" % (name, value))
    return b"".join(lines) + b"\r\n"
