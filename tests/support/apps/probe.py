"""Tells a test what runs it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await asyncio.sleep(float(os.environ.get("START_SECONDS", "0")))
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/loop")
async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/blocked")
async def blocked(seconds: float) -> int:
    """Holds the event loop, which it should not."""
    time.sleep(seconds)
    return os.getpid()
