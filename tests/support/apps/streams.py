"""Answers that take long, which a drain has to end well. Files tell what they saw."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

PIECE = b"." * 1000
PIECES_PER_SECOND = 10


def note(event: str) -> None:
    Path(os.environ["FOLDER"], f"{event}.{os.getpid()}").touch()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    note("shut-down")


app = FastAPI(lifespan=lifespan)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    async def until_draining() -> AsyncIterator[str]:
        while not request.state.draining.is_set():
            yield f"data: {os.getpid()}\n\n"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(request.state.draining.wait(), 0.2)
        yield "data: goodbye\n\n"

    return StreamingResponse(until_draining(), media_type="text/event-stream")


@app.get("/endless-events")
async def endless_events() -> StreamingResponse:
    async def for_ever() -> AsyncIterator[str]:
        while True:
            yield f"data: {os.getpid()}\n\n"
            await asyncio.sleep(0.2)

    return StreamingResponse(for_ever(), media_type="text/event-stream")


@app.get("/download/{seconds}")
async def download(seconds: int) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(seconds * PIECES_PER_SECOND):
            yield PIECE
            await asyncio.sleep(1 / PIECES_PER_SECOND)

    size = len(PIECE) * seconds * PIECES_PER_SECOND
    return StreamingResponse(pieces(), headers={"content-length": str(size)})


@app.get("/stubborn")
async def stubborn(request: Request) -> None:
    """Learns that its client is gone, and goes on."""
    note("begun")
    while (await request.receive())["type"] != "http.disconnect":
        pass
    note("disconnected")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        note("cancelled")
        raise


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(await socket.receive_text())
