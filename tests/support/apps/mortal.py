"""GET /end/NAME ends the worker's task of that name; GET /names tells all of them."""

import asyncio
import os

from fastapi import FastAPI

app = FastAPI()


def tasks() -> dict[str, "asyncio.Task[object]"]:
    return {task.get_name(): task for task in asyncio.all_tasks()}


@app.get("/names")
async def names() -> list[str]:
    return sorted(tasks())


@app.get("/end/{name}")
async def end(name: str) -> int:
    tasks()[name].cancel()
    return os.getpid()


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
