"""A request's head without its wish for another protocol."""

from collections.abc import Iterable

import httptools

WISH = (b"upgrade", b"http2-settings")


def head_without_upgrade(
    parser: httptools.HttpRequestParser, target: bytes, fields: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """To be parsed once more. `parser` has read it; `fields` are its header's, their names in lower case."""
    lines = [b"%s %s HTTP/%s\r\n" % (parser.get_method(), target, parser.get_http_version().encode())]
    for name, value in fields:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            value = b", ".join(token for token in tokens if token.lower() not in WISH)
        if name not in WISH and (value or name != b"connection"):
            lines.append(b"%s: %s\r\n" % (name, value))
    return b"".join(lines) + b"\r\n"
