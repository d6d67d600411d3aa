"""What an accepted connection costs, in turn with other workers or as the event loop does.

`make bench-accept`. One process listens in both ways, one after the other in each round. A child connects,
exchanges a few bytes and closes; CPU is that of the process that listens. Ratios are of the same round.
"""

import argparse
import asyncio
import itertools
import os
import random
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

sys.path.insert(0, str(Path(__file__).parents[1]))

from coachman.serving.accept import FairListener
from coachman.serving.balance import ConnectionShare
from coachman.state.load_table import LoadTable
from coachman.state.scoreboard import Service

Protocol = Callable[[set[Any]], asyncio.BaseProtocol]
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
WORKERS = 4


class Echo(asyncio.Protocol):
    """As Uvicorn's protocols, it keeps a set of those that are open."""

    def __init__(self, connections: set[Any]) -> None:
        self._connections = connections

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def echo(connections: set[Any]) -> asyncio.BaseProtocol:
    return Echo(connections)


def http(connections: set[Any]) -> asyncio.BaseProtocol:
    """Uvicorn's own, with an application that does nothing."""
    STATE.connections = connections
    return HttpToolsProtocol(config=CONFIG, server_state=STATE, app_state={})


CONFIG, STATE = uvicorn.Config(answer, lifespan="off", access_log=False, log_config=None), ServerState()
PROTOCOLS = {
    "echo": (echo, b"ping"),
    "http": (http, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
}


def least_loaded() -> ConnectionShare:
    """Of a worker that looks at the others, which have more to do, and never waits for them."""
    table = LoadTable(WORKERS)
    mine, *others = (
        ConnectionShare(table, slot, lambda: Service(workers=WORKERS, slots=WORKERS))
        for slot in range(WORKERS)
    )
    mine.open()
    for other in others:
        other.connections.update(range(1000))
        other.open()
    return mine


async def fair(listener: socket.socket, protocol: Protocol) -> Any:
    share = least_loaded()
    return FairListener(listener, lambda: protocol(share.connections), share, None)


async def stock(listener: socket.socket, protocol: Protocol) -> Any:
    connections: set[Any] = set()
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: protocol(connections), sock=listener)


KINDS: dict[str, Callable[[socket.socket, Protocol], Awaitable[Any]]] = {"fair": fair, "stock": stock}


def connect(address: tuple[str, int], question: bytes, connections: int, together: int) -> None:
    """Runs in the child: `together` connections at a time, as a burst."""
    for _ in range(connections // together):
        clients = [socket.create_connection(address) for _ in range(together)]
        for client in clients:
            client.sendall(question)
        for client in clients:
            assert client.recv(1000)
            client.close()


async def cost_us(kind: str, name: str, connections: int, together: int) -> float:
    protocol, question = PROTOCOLS[name]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as bound:
        address = bound.getsockname()
        server = await KINDS[kind](bound.dup(), protocol)
        ended = asyncio.get_running_loop().create_future()
        if (child := os.fork()) == 0:
            try:
                connect(address, question, connections, together)
            finally:
                os._exit(0)
        pidfd = os.pidfd_open(child)
        asyncio.get_running_loop().add_reader(pidfd, ended.set_result, None)
        begun = time.process_time()
        await ended
        spent = time.process_time() - begun
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it has ended
        server.close()
    return spent / connections * 1e6


def measure(loop: str, name: str, together: int, rounds: int, connections: int) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        for _ in range(rounds):
            for kind in random.sample(list(KINDS), len(KINDS)):
                costs[kind].append(runner.run(cost_us(kind, name, connections, together)))
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare what accepting a connection costs.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--connections", type=int, default=1000, help="of one measurement (1000)")
    options = parser.parse_args()
    print("| loop | exchange | at a time | in turn, µs | as the loop does, µs | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for loop, name, together in itertools.product(LOOPS, PROTOCOLS, (1, 16)):
        costs = measure(loop, name, together, options.rounds, options.connections)
        ratios = [ours / theirs for ours, theirs in zip(*costs.values(), strict=True)]
        medians = " | ".join(f"{statistics.median(costs[kind]):.0f}" for kind in KINDS)
        print(f"| {loop} | {name} | {together} | {medians} | {statistics.median(ratios):.2f} |", flush=True)


if __name__ == "__main__":
    main()
