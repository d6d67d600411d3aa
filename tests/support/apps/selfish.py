"""An application that ends its own process by SIGTERM, or floods a WebSocket."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

FOLDER = Path(os.environ["FOLDER"])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with (FOLDER / "starts").open("a") as starts:
        starts.write(".")
    if (FOLDER / "while-starting").exists():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(3600)
    if (FOLDER / "once-ready").exists():
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    yield
    (FOLDER / f"shut-down.{os.getpid()}").touch()


app = FastAPI(lifespan=lifespan)


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()


@app.get("/hold")
async def hold() -> int:
    while (FOLDER / "hold").exists():
        await asyncio.sleep(0.02)
    return os.getpid()


@app.get("/quit")
async def quit_later() -> int:
    """Has a task of the application's own end the process."""

    async def leave() -> None:
        sys.exit("no licence")

    app.state.task = asyncio.create_task(leave())
    return os.getpid()


@app.websocket("/flood")
async def flood(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_bytes(b"." * 65536)
