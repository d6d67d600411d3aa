"""What is attacked: it says what it has received."""

import os

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

MEGABYTE = 1024 * 1024

app = FastAPI()
asked: list[str] = []


@app.middleware("http")
async def remember(request: Request, call_next):  # type: ignore[no-untyped-def]
    asked.append(f"{request.method} {request.url.path}")
    return await call_next(request)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/asked")
async def what_was_asked() -> list[str]:
    return asked


@app.get("/seen")
async def seen(request: Request) -> dict[str, str]:
    return {
        "client": request.client.host if request.client else "",
        "request_id": request.headers.get("x-request-id", ""),
    }


@app.post("/length")
async def length(request: Request) -> int:
    return len(await request.body())


@app.post("/uploads/length")
async def length_of_upload(request: Request) -> int:
    return sum([len(piece) async for piece in request.stream()])


@app.get("/big")
async def big() -> PlainTextResponse:
    return PlainTextResponse(b"." * 20 * MEGABYTE)


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(b"." * 64 * 1024 for _ in range(16 * 1024))


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()
