"""A new worker answers one request before it counts as ready: what starts does not always serve."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable

MIN_SECONDS = 0.5  # of a probe
LEAVE_SECONDS = 1.0  # of the boot's time, for the lifespan's shutdown
_FIRST_BYTES = 64  # the status line
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_FAILED_STATUS = 500


def probe_seconds(boot_seconds: float, since_fork: float) -> float:
    """How long the answer may take: so that its fault is told before the master kills the worker for it."""
    left = boot_seconds - since_fork
    return max(MIN_SECONDS, left - LEAVE_SECONDS)


async def fault_of_probe(protocol: Callable[[], asyncio.Protocol], path: str, seconds: float) -> str:
    """Asks for `path` over a connection of its own, and says what is wrong with the answer; empty if nothing.

    The connection is one that nobody else can take: on the listening socket another worker might answer.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_accepted_socket(protocol, theirs)
    try:
        async with asyncio.timeout(seconds):
            answer = await _ask(ours, path)
    except TimeoutError:
        return f"it did not answer GET {path} within {seconds:.3g} s"
    except OSError as error:
        return f"it did not answer GET {path}: {(error.strerror or str(error)).lower()}"
    finally:
        ours.close()
        with contextlib.suppress(RuntimeError):
            transport.close()
    status = _STATUS.match(answer)
    if status is None:
        return f"it closed the connection of GET {path} without an answer"
    return f"it answered GET {path} with {int(status[1])}" if int(status[1]) >= _FAILED_STATUS else ""


async def _ask(connection: socket.socket, path: str) -> bytes:
    """Sends the request, and returns the beginning of the response."""
    loop = asyncio.get_running_loop()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coachman-probe\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(connection, head.encode())
    return await loop.sock_recv(connection, _FIRST_BYTES)
