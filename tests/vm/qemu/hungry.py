"""An application that takes what it is asked to take, to be refused by a limit."""

import os
import socket
import threading
from typing import Any

from fastapi import FastAPI

app = FastAPI()
_kept: list[Any] = []


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/memory")
def memory(megabytes: int) -> int:
    _kept.extend(b"x" * (1 << 20) for _ in range(megabytes))
    return megabytes


@app.get("/threads")
def threads(count: int) -> int:
    """How many could be started."""
    end, started = threading.Event(), []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    finally:
        end.set()
        for thread in started:
            thread.join()
    return len(started)


@app.get("/files")
def files(count: int) -> int:
    """How many could be opened."""
    opened: list[int] = []
    try:
        opened.extend(os.dup(0) for _ in range(count))
    except OSError:
        pass
    finally:
        for file in opened:
            os.close(file)
    return len(opened)


@app.get("/connection")
def connection(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), 5).close()
    except OSError as error:
        return type(error).__name__
    return "connected"
