"""Forks in its endpoints, as applications do that use multiprocessing."""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import fastapi
from prometheus_client import Counter

app = fastapi.FastAPI()
CONTEXT = multiprocessing.get_context("fork")
DOUBLED = Counter("doubled", "Numbers that children have doubled.")


def double(number: int) -> int:
    DOUBLED.inc()
    return 2 * number


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/terminate")
async def terminate() -> int | None:
    """The exit code of a child that is terminated."""
    process = CONTEXT.Process(target=time.sleep, args=(60,))
    process.start()
    await asyncio.sleep(0.1)
    process.terminate()
    await asyncio.to_thread(process.join, 10)
    code = process.exitcode
    process.kill()
    return code


@app.get("/terminate-at-once")
async def terminate_at_once() -> set[int]:
    """The exit codes of children that are terminated before they have done anything."""
    codes = set()
    for _ in range(50):
        if not (child := os.fork()):
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        codes.add(_wait(child))
    return codes


@app.get("/pool")
def pool() -> list[int]:
    with CONTEXT.Pool(2) as processes:  # which terminates them
        return processes.map(double, [1, 2, 3])


@app.get("/executor")
async def executor() -> list[int]:
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as processes:
        return list(processes.map(double, [1, 2, 3]))


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@app.get("/exit")
async def exit_() -> int:
    """The exit code of a child that ends as any program does."""
    if not (child := os.fork()):
        sys.exit(7)
    return await asyncio.to_thread(_wait, child)


@app.get("/late-exit/{turns}")
async def late_exit(turns: int) -> int:
    """As /exit, some turns of the event loop after it was blocked, when all that a worker does is due."""
    time.sleep(0.3)
    for _ in range(turns):
        await asyncio.sleep(0)
    if not (child := os.fork()):
        sys.exit(7)
    return await asyncio.to_thread(_wait, child)


@app.get("/return")
async def return_() -> int:
    """The exit code of a child that goes on where its parent does."""
    if not (child := os.fork()):
        return -1
    return await asyncio.to_thread(_wait, child)


@app.get("/await")
async def await_() -> int:
    """The exit code of a child that waits for something in the event loop, in which it would serve."""
    if not (child := os.fork()):
        await asyncio.sleep(3600)
    return await asyncio.to_thread(_wait, child)


@app.get("/hold")
async def hold() -> int:
    """The pid of a child that outlives its request."""
    if not (child := os.fork()):
        time.sleep(60)
        os._exit(0)
    return child
