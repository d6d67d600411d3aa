"""Who moves the service to which release: one at a time, and a line in the audit log for each attempt."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coachman.releases.command import RefusedError

_MOST_BYTES = 4096  # of what a holder writes about itself


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds the lock. Raises RefusedError, naming its holder, when it is taken.

    The kernel gives it back, however its holder ends.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(file, _MOST_BYTES, 0))
            raise RefusedError(f"{holder}; wait for its end, then try again.") from None
        os.truncate(file, 0)
        text = json.dumps({"who": who(), "what": what, "pid": os.getpid(), "at": now()})
        with contextlib.suppress(OSError):  # on a full disk: it is the lock of a nameless holder
            os.pwrite(file, text.encode(), 0)
        yield
        os.truncate(file, 0)
    finally:
        os.close(file)


def record(path: Path, **facts: Any) -> None:
    """Appends a line of JSON to the audit log, which is on the disk when this returns."""
    line = json.dumps({"at": now(), "who": who(), **facts}) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)


def who() -> str:
    """Returns the person behind root, where sudo or the login names one."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
    origin = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"{name} from {origin}" if origin else name


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _holder(text: bytes) -> str:
    try:
        holder = json.loads(text)
        return "{who} has begun a {what} at {at} (pid {pid})".format(**holder)
    except (ValueError, KeyError):  # it has just begun, or is about to end
        return "Another release is under way"
