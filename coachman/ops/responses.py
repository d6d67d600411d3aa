"""What an address of the ops listener answers."""

import json
from typing import Any, NamedTuple

from coachman.asgi import Send

Headers = tuple[tuple[bytes, bytes], ...]


class Response(NamedTuple):
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Headers = ()

    async def send(self, send: Send) -> None:
        fields = [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            (b"cache-control", b"no-store"),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": self.body})


def json_response(content: Any, status: int = 200, *headers: tuple[bytes, bytes]) -> Response:
    return Response(json.dumps(content).encode(), status, headers=headers)
