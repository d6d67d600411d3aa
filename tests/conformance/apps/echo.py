"""Answers with what it has understood of a request; some paths respond in ways that a protocol must mend."""

import asyncio
import json
from typing import Any

Scope = dict[str, Any]


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-path", scope["path"].encode())]})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": message.get("text") or ""})
    else:
        await SPECIAL.get(scope["path"], echo)(scope, receive, send)


async def body_of(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return body


async def respond(
    send: Any, status: int, content: bytes, headers: tuple[tuple[bytes, bytes], ...] | None = None
) -> None:
    fields = ((b"content-length", b"%d" % len(content)),) if headers is None else headers
    await send({"type": "http.response.start", "status": status, "headers": list(fields)})
    await send({"type": "http.response.body", "body": content})


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    body = await body_of(receive)
    understood = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "version": scope["http_version"],
        "client": scope["client"] and scope["client"][0],
        "headers": [
            f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in scope["headers"]
        ],
        "body": body.decode("latin-1"),
    }
    await respond(send, 200, json.dumps(understood).encode())


async def no_content(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send, 204, b"null", ((b"content-length", b"4"),))


async def not_modified(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send, 304, b"null", ((b"content-length", b"4"), (b"etag", b'"1"')))


async def stream(scope: Scope, receive: Any, send: Any) -> None:
    """Three pieces without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(3):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        await asyncio.sleep(0.05)  # so that each piece leaves alone
    await send({"type": "http.response.body", "body": b""})


async def ticks(scope: Scope, receive: Any, send: Any) -> None:
    """One small piece at a time, each of which has to arrive before the next one is made."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(4):
        await send({"type": "http.response.body", "body": b"tick %d\n" % number, "more_body": True})
        await asyncio.sleep(0.2)
    await send({"type": "http.response.body", "body": b""})


async def fail_late(scope: Scope, receive: Any, send: Any) -> None:
    """As Starlette does with an unhandled exception: a complete response, then the exception."""
    await respond(send, 500, b"failed")
    raise RuntimeError("an error of the application, for a test")


async def slow(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.5)
    await echo(scope, receive, send)


async def read_late(scope: Scope, receive: Any, send: Any) -> None:
    """Asks for the body only after the body's deadline, which the tests set to 2 seconds."""
    await asyncio.sleep(4)
    await echo(scope, receive, send)


async def disconnected(scope: Scope, receive: Any, send: Any) -> None:
    """Waits until it is told that the client has left, and can say so all the same."""
    await body_of(receive)
    message = await receive()
    await respond(send, 200, message["type"].encode())


SPECIAL = {
    "/204": no_content,
    "/304": not_modified,
    "/stream": stream,
    "/ticks": ticks,
    "/boom": fail_late,
    "/slow": slow,
    "/late": read_late,
    "/disconnected": disconnected,
}
