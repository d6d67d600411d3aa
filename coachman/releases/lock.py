"""One release at a time. The kernel gives the lock back, however its holder ends."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from coachman.releases.errors import RefusedError


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Raises RefusedError, naming who holds it and since when."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"{_holder(file.read())}; wait for its end, then try again.") from None
        file.truncate(0)
        json.dump({"who": who(), "what": what, "pid": os.getpid(), "at": now()}, file)
        file.flush()
        yield
        file.truncate(0)


def who() -> str:
    """The person behind root, where sudo or a login tells."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
    origin = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"{name} from {origin}" if origin else name


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return "{who} has begun a {what} at {at} (pid {pid})".format(**holder)
    except (ValueError, KeyError):  # it has just begun, or is about to end
        return "Another release is under way"
