"""Requests that are nearly right, many of them: the worker stays the same and has nothing to report."""

import contextlib
import random
import socket

import pytest

from tests.abuse.client import Canary
from tests.support.service import Service
from tests.support.volume import dice, volume

GET, POST = b"GET /pid HTTP/1.1\r\nhost: here\r\n", b"POST /length HTTP/1.1\r\nhost: here\r\n"
REQUESTS = [
    GET + b"connection: close\r\n\r\n",
    POST + b"content-length: 5\r\n\r\nhello" + GET + b"\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi",
    b"GET /echo HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    b"\x81\x85\x00\x00\x00\x00hello",
    POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"\t", b"%00", b"content-length: 9\r\n"]
ROUNDS = volume(6000, 1500)


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(REQUESTS))
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del data[at : at + chance.randint(1, 20)]
        elif kind == 2:
            data[at:at] = chance.choice(TOKENS)
        else:
            data[at:at] = data[: chance.randrange(len(data) + 1)]
    return bytes(data)


@pytest.mark.soak
def test_mutated_requests_leave_the_worker_as_it_was(target: Service) -> None:
    chance = dice()
    canary = Canary(target.port)
    for number in range(ROUNDS):
        data = mutated(chance)
        cut = chance.randrange(len(data) + 1)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", target.port), timeout=5) as client,
        ):
            client.sendall(data[:cut])
            client.sendall(data[cut:])
            client.settimeout(0.002)
            client.recv(65536)
        if number % 500 == 0:
            canary.ask()

    canary.ask()
    # That no worker was lost and nothing was reported: the fixture's end.
