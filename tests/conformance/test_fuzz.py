"""Mutations of the table, with a memory: what a worker could do before a batch, it can do after it."""

import contextlib
import random
import socket
from pathlib import Path

import pytest

from tests.conformance.cases import CASES
from tests.conformance.soundness import complaints
from tests.conformance.test_conformance import serving_echo
from tests.support.service import Service
from tests.support.volume import dice, volume

BATCHES, CONNECTIONS = volume(40, 3), 500
GROWTH_BYTES = 4 * 1024 * 1024
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b":",
    b" ",
    b"\t",
    b"%00",
    b"\xff",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"/slow",
    b"/boom",
    b"/stream",
    b"Content-Length: 9\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: i\r\n",
    b"fffffff\r\n",
]
REQUESTS = [case.request for case in CASES if len(case.request) < 2000]


def mutated(chance: random.Random) -> bytes:
    """One to three requests of the table, changed in up to three places."""
    data = bytearray(b"".join(chance.choice(REQUESTS) for _ in range(chance.randint(1, 3))))
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randint(1, 20)]
            case 2:
                data[at:at] = data[: chance.randrange(len(data) + 1)]
            case _:
                data[at:at] = chance.choice(TOKENS)
    return bytes(data)


def attack(port: int, chance: random.Random) -> None:
    """One connection: its bytes in two pieces, and one of the ends that a client may give it."""
    data = mutated(chance)
    cut = chance.randrange(len(data) + 1)
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as client,
    ):
        client.sendall(data[:cut])
        client.sendall(data[cut:])
        if chance.random() < 0.2:
            client.shutdown(socket.SHUT_WR)
        client.settimeout(chance.choice((0.001, 0.005, 0.02)))
        client.recv(65536)


def rss(service: Service) -> int:
    (worker,) = service.worker_pids()
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * 4096


@pytest.mark.soak
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_mutated_requests_leave_a_worker_that_does_everything(tmp_path: Path, loop: str) -> None:
    chance = dice()
    with serving_echo(tmp_path, loop) as service:
        for _ in range(CONNECTIONS):  # what a worker allocates once
            attack(service.port, chance)
        before = rss(service)
        for batch in range(BATCHES):
            for _ in range(CONNECTIONS):
                attack(service.port, chance)
            assert complaints(service) == [], f"after batch {batch}\n{service.log()[-5000:]}"

        assert rss(service) - before < GROWTH_BYTES, f"{(rss(service) - before) / 1024:.0f} KiB more"
    # That it is the same worker, and has no exception of its own to report: the end of serving_echo.
