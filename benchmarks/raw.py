"""An ASGI application without a framework: the limit of any server that speaks through ASGI to Python."""

from typing import Any

BODY = b'{"id":1,"sku":"TEA-1","name":"Darjeeling, 100 g","description":null,"unit_price":450,"quantity":0}'
HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send(HEAD)
    await send({"type": "http.response.body", "body": BODY})
