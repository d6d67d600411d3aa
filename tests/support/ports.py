"""Free ports of 127.0.0.1 for what the tests start.

A port that the kernel picks (bind to port 0) is free when it is asked for and may be another process's a
moment later: the kernel hands it out again, to a service of another test process or to any client's
connection. So each process has a block of ports of its own, below those that the kernel gives to clients.
"""

import itertools
import os
import socket
from functools import cache

FIRST, LAST, BLOCK = 15_000, 32_000, 200


class _Block:
    """The ports of this process, until it ends."""

    def __init__(self) -> None:
        self._claim, first = _claim()
        self._ports = itertools.cycle(range(first, first + BLOCK))

    def next(self) -> int:
        for port in itertools.islice(self._ports, BLOCK):
            if _is_free(port):
                return port
        raise AssertionError("no port of this process's block is free")


def _claim() -> tuple[socket.socket, int]:
    """Takes the first block whose abstract address nobody holds: the kernel frees it with its process."""
    for first in range(FIRST, LAST, BLOCK):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0coachman-tests-ports-{first}")
        except OSError:
            claim.close()
        else:
            return claim, first
    raise AssertionError(f"all blocks of ports from {FIRST} to {LAST} are taken by other test processes")


def _is_free(port: int) -> bool:
    """Also where an earlier connection of it still lingers, which keeps no server from listening."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
    except OSError:
        return False
    return True


@cache
def _block(pid: int) -> _Block:
    return _Block()


def free_port() -> int:
    """A port on which nobody listens, and which is given to nobody else before the whole block has been."""
    return _block(os.getpid()).next()
