"""Hands a connection over to Uvicorn's WebSocket protocol."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coachman.edge import request_head

MAPPED = "::ffff:"  # an IPv4 client of a dual-stack socket (RFC 4291, 2.5.5.2)

Address = tuple[str, int] | None


def unmapped(client: Address) -> Address:
    """The IPv4 address of an IPv4 client. Trusted proxies are compared by it."""
    if client is not None and client[0].startswith(MAPPED) and "." in client[0]:
        return client[0][len(MAPPED) :], client[1]
    return client


def hand_over(http: HttpToolsProtocol, transport: asyncio.Transport) -> None:
    """Makes the protocol, gives it the handshake that `http` has read, and has it read what follows."""
    protocol: Any = http.ws_protocol_class(  # type: ignore[call-arg, misc]
        config=http.config, server_state=http.server_state, app_state=http.app_state
    )
    protocol.connection_made(transport)
    protocol.client = http.client
    protocol.data_received(handshake(http.url, http.headers))
    transport.set_protocol(protocol)


def handshake(target: bytes, fields: request_head.Fields) -> bytes:
    """The head of the request, for another parser. Of several protocols on offer it names WebSocket alone.

    There is no body, which that parser does not see in a length such as 00.
    """
    lines = [b"GET %s HTTP/1.1\r\n" % target, b"upgrade: websocket\r\n"]
    lines += [b"%s: %s\r\n" % field for field in fields if field[0] not in (b"upgrade", b"content-length")]
    return b"".join(lines) + b"\r\n"
