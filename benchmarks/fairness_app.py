"""Counts the requests and the connections of each process, in a file of FAIRNESS_FOLDER."""

import asyncio
import mmap
import os
from pathlib import Path
from typing import Any

from benchmarks import compiler_apps

CPU_STEPS = 5_000
IO_SECONDS = 0.005


class Counting:
    """ASGI: one more for this process, whichever server has forked or started it."""

    def __init__(self, inner: Any) -> None:
        self.app, self._pid = inner, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if self._pid != os.getpid():
                self._open()
            self._counts[0] += 1
            if scope["client"] not in self._clients:
                self._clients.add(scope["client"])
                self._counts[1] += 1
        await self.app(scope, receive, send)

    def _open(self) -> None:
        self._pid, self._clients = os.getpid(), set[Any]()
        path = Path(os.environ["FAIRNESS_FOLDER"]) / f"requests.{self._pid}"
        with path.open("w+b") as file:
            file.truncate(16)
            self._counts = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")


async def cpu() -> int:
    return sum(number * number for number in range(CPU_STEPS))


async def io() -> None:
    await asyncio.sleep(IO_SECONDS)


few = compiler_apps.trivial()
few.get("/cpu")(cpu)
few.get("/io")(io)

trivial = Counting(few)
many = Counting(compiler_apps.many())
