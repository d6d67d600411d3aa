"""`calibrate`: what Locust itself can do here, against a server that costs next to nothing."""

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Annotated

import typer

from loadtests import procfs
from loadtests.commands import common
from loadtests.load import Load

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\nwaited"


def calibrate(
    seconds: Annotated[float, typer.Option(min=0.5, help="How long.")] = 5,
    users: Annotated[int, typer.Option(min=1, help="Clients.")] = 32,
) -> None:
    """Print the requests/s at which the generator is the limit, and its CPU a request."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        with Load("wait-async", f"http://127.0.0.1:{ours.recv()}", users=users) as load:
            load.begin()
            time.sleep(1)
            begun, cpu = time.monotonic(), procfs.cpu_seconds(load.pid)
            time.sleep(seconds)
            ended, cpu = time.monotonic(), procfs.cpu_seconds(load.pid) - cpu
            samples = load.end().samples.between(begun, ended, by="end")
    finally:
        server.kill()
        server.join()
    common.console().print(
        f"Locust alone: {len(samples) / (ended - begun):,.0f} requests/s, "
        f"{cpu / max(1, len(samples)) * 1e6:.0f} µs of CPU each, {cpu / (ended - begun):.2f} cores. "
        "A service that does more cannot be measured by one generator."
    )


class _Fixed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)


def _serve(tell: Connection) -> None:
    """Runs in a process of its own."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Fixed, "127.0.0.1", 0)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())
