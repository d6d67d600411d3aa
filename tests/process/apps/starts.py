"""Starts as a file in the folder STARTS says: `fail`, `wait`, `block` or `crash`, after the seconds in it.

Notes each start in the file `times` there. Never ends while `linger` is there.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

STARTS = Path(os.environ["STARTS"])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with (STARTS / "times").open("a") as times:
        times.write(f"{time.monotonic()}\n")
    if (STARTS / "fail").exists():
        raise ConnectionError("the database is down")
    if (STARTS / "wait").exists():
        await asyncio.sleep(3600)
    if (STARTS / "block").exists():
        time.sleep(3600)
    if (STARTS / "crash").exists():
        seconds = float((STARTS / "crash").read_text() or 0.1)
        asyncio.get_running_loop().call_later(seconds, os._exit, 1)
    yield
    if (STARTS / "linger").exists():
        await asyncio.sleep(3600)


app = FastAPI(lifespan=lifespan)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
