"""Starts as a file says: `fail`, `wait`, `block` or `crash`, after the seconds in it.

Notes each start in the file `times`. Never ends while `linger` is there.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

FOLDER = Path(os.environ["FOLDER"])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with (FOLDER / "times").open("a") as times:
        times.write(f"{time.monotonic()}\n")
    if (FOLDER / "fail").exists():
        raise ConnectionError("the database is down")
    if (FOLDER / "wait").exists():
        await asyncio.sleep(3600)
    if (FOLDER / "block").exists():
        time.sleep(3600)
    if (FOLDER / "crash").exists():
        seconds = float((FOLDER / "crash").read_text() or 0.1)
        asyncio.get_running_loop().call_later(seconds, os._exit, 1)
    yield
    if (FOLDER / "linger").exists():
        await asyncio.sleep(3600)


app = FastAPI(lifespan=lifespan)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
