"""Tells a client how it is seen."""

from fastapi import FastAPI, Request, WebSocket

app = FastAPI()


@app.get("/client")
async def client(request: Request) -> list[str]:
    return [request.client.host if request.client else "", request.url.scheme]


@app.websocket("/ws")
async def client_of_websocket(socket: WebSocket) -> None:
    await socket.accept()
    assert socket.client
    await socket.send_text(socket.client.host)
    await socket.close()
