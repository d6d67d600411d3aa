"""One endpoint for each thing that a handler can do to its worker."""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

MEGABYTE = 1024 * 1024

leaked: list[bytes] = []
cancelled: list[float] = []


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = int(os.environ.get("THREADS", "40"))
    yield
    print("the lifespan has ended", flush=True)


app = FastAPI(lifespan=lifespan)


# What the paths that end in `until-let-go` wait for: the end of this file.
HELD = Path(os.environ.get("FOLDER", ""), "held")


def until_let_go() -> None:
    while HELD.exists():
        time.sleep(0.02)


def tell_begun() -> None:
    print("a handler has begun", flush=True)


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> int:
    tell_begun()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        cancelled.append(seconds)
        raise
    return os.getpid()


@app.get("/cancelled")
async def cancelled_sleeps() -> list[float]:
    return cancelled


@app.get("/thread/{seconds}")
def hold_a_thread(seconds: float) -> int:
    tell_begun()
    time.sleep(seconds)
    return os.getpid()


@app.get("/thread-until-let-go")
def hold_a_thread_until_let_go() -> int:
    until_let_go()
    return os.getpid()


@app.get("/occupy-until-let-go")
async def occupy_until_let_go() -> int:
    """In the event loop's own pool of threads."""
    await asyncio.to_thread(until_let_go)
    return os.getpid()


@app.get("/end")
async def end_the_process() -> None:
    os._exit(9)


@app.get("/block/{seconds}")
async def block_the_loop(seconds: float) -> int:
    tell_begun()
    time.sleep(seconds)
    return os.getpid()


@app.get("/block-until-let-go")
async def block_the_loop_until_let_go() -> int:
    until_let_go()
    return os.getpid()


@app.get("/block-in-c")
async def block_the_loop_in_c() -> None:
    tell_begun()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # no signal handler of Python's runs meanwhile


@app.get("/leak")
async def leak() -> int:
    leaked.append(b"." * 10 * MEGABYTE)
    return os.getpid()


@app.get("/log/{lines}")
async def log(lines: int) -> int:
    for number in range(lines):
        logging.getLogger("gunicorn.error").info("line %s %s", number, "." * 100)
        print("printed", number, "." * 100)
    return os.getpid()


@app.get("/fork")
async def fork() -> int:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return child
