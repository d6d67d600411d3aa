"""Whether a worker still does everything: that it answers is not enough."""

import socket
import time

from tests.support.service import Service

TICKS = 4  # of apps/echo.py, 0.2 s apart
RESET_SECONDS = 60.0


def client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def continues(port: int) -> bool:
    """Whether 100 Continue comes once the application reads the body, and then the response."""
    with client(port) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\nConnection: close\r\n\r\n"
        )
        if not connection.recv(65536).startswith(b"HTTP/1.1 100 "):
            return False
        connection.sendall(b"hello")
        return b'"body": "hello"' in read_to_end(connection)


def pieces_of_a_stream(port: int) -> int:
    """How many pieces of a stream arrive alone: all, where each is sent as it is made."""
    with client(port) as connection:
        connection.sendall(b"GET /ticks HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        pieces = 0
        while piece := connection.recv(65536):
            pieces += piece.count(b"tick") == 1
        return pieces


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def complaints(service: Service) -> list[str]:
    """What of all that a worker has to do it does no more. A machine that is busy gets a second chance."""
    found = []
    deadline = time.monotonic() + RESET_SECONDS
    while True:
        found = []
        if not continues(service.port):
            found.append("100 Continue does not come")
        if (pieces := pieces_of_a_stream(service.port)) < TICKS:
            found.append(f"{TICKS - pieces} of {TICKS} pieces of a stream come late")
        if not found or time.monotonic() > deadline:
            return found
