"""Counts the requests of each process, in a file of FAIRNESS_FOLDER."""

import asyncio
import mmap
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI

ROUTES = 100
CPU_STEPS = 5_000
IO_SECONDS = 0.005

app = FastAPI()


@app.get("/")
async def nothing() -> dict[str, str]:
    return {"hello": "world"}


for number in range(ROUTES):
    app.get(f"/other/{number}/{{item_id}}")(nothing)


@app.get("/last/{item_id}")
async def last(item_id: int) -> dict[str, int]:
    """Below a hundred other routes."""
    return {"item_id": item_id}


@app.get("/cpu")
async def cpu() -> int:
    return sum(number * number for number in range(CPU_STEPS))


@app.get("/io")
async def io() -> None:
    await asyncio.sleep(IO_SECONDS)


class Counting:
    """ASGI: one more for this process, whichever server has forked or started it."""

    def __init__(self, inner: Any) -> None:
        self.app, self._pid = inner, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if self._pid != os.getpid():
                self._open()
            self._count[0] += 1
        await self.app(scope, receive, send)

    def _open(self) -> None:
        self._pid = os.getpid()
        path = Path(os.environ["FAIRNESS_FOLDER"]) / f"requests.{self._pid}"
        with path.open("w+b") as file:
            file.truncate(8)
            self._count = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")


counted = Counting(app)
