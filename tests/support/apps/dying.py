"""GET /die has the worker's consumer fail, and with it the application's lifespan.

A file FOLDER/die-after with a number of seconds has it fail by itself.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request

DIE_AFTER = Path(os.environ["FOLDER"], "die-after")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, asyncio.Event]]:
    lost = asyncio.Event()

    async def consume() -> None:
        await lost.wait()
        raise RuntimeError("the consumer lost its broker")

    async with asyncio.TaskGroup() as group:
        consumer = group.create_task(consume())
        if DIE_AFTER.exists():
            asyncio.get_running_loop().call_later(float(DIE_AFTER.read_text()), lost.set)
        yield {"lost": lost}
        consumer.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/die")
async def die(request: Request) -> int:
    request.state.lost.set()
    return os.getpid()


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
