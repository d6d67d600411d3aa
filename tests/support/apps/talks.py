"""Endpoints that log, from a coroutine, a thread and a task, and one that fails."""

import asyncio
import logging

from fastapi import FastAPI

log = logging.getLogger("shop")
app = FastAPI()


@app.get("/async/{name}")
async def in_coroutine(name: str) -> str:
    log.info("coroutine %s", name)
    await asyncio.create_task(in_task(name))
    return name


async def in_task(name: str) -> None:
    await asyncio.sleep(0)
    log.info("task %s", name)


@app.get("/thread/{name}")
def in_thread(name: str) -> str:
    log.info("thread %s", name)
    return name


@app.get("/crash/{name}")
async def crash(name: str) -> None:
    raise RuntimeError(name)


@app.get("/slow/{seconds}")
async def slow(seconds: float) -> None:
    await asyncio.sleep(seconds)
