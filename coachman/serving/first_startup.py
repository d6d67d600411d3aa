"""Lets the first worker of a generation start up alone where it may make tables.

Applications call SQLAlchemy's `create_all` in their lifespan. It looks which tables there are and makes the
others, in each worker: two that start at once make the same table, and one of them fails with "table already
exists". The first start of a service would be refused at random.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

LONGEST_WAIT_SECONDS = 5.0  # tables are made in less; a start-up that takes longer loads something
_POLL_SECONDS = 0.01
_MAKES_TABLES = "sqlalchemy"
_DONE = b"1"

# Made at import, which is in the master: its workers inherit it, and the next generation has another. A lock
# on it ends with its process; a byte in it says that a start-up has succeeded.
_turn = os.memfd_create("coachman-first-startup")


@contextlib.asynccontextmanager
async def first_alone(most_seconds: float) -> AsyncIterator[Callable[[], None]]:
    """Waits for the first start-up of this generation, for `most_seconds` at most; the first waits for none.

    Yields what is to be called when the start-up has succeeded: from then on nobody waits. Where the first
    one fails, another takes its turn.
    """
    is_first = await _wait_for_turn(most_seconds)
    try:
        yield _nobody_waits
    finally:
        if is_first:
            fcntl.lockf(_turn, fcntl.LOCK_UN)


async def _wait_for_turn(most_seconds: float) -> bool:
    """Returns whether others wait for this process from now on."""
    deadline = time.monotonic() + most_seconds
    while _MAKES_TABLES in sys.modules and not os.pread(_turn, 1, 0) and time.monotonic() < deadline:
        if _take_turn():
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False


def _take_turn() -> bool:
    try:
        fcntl.lockf(_turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # another start-up has it
            return False
        raise
    return True


def _nobody_waits() -> None:
    os.pwrite(_turn, _DONE, 0)
