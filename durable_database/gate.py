"""The gate: a lock between processes, so that one at a time commits or checkpoints."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where one process serves
    fcntl = None  # type: ignore[assignment]

# How long a process that has more to commit keeps the gate: without it transactions ran at half the speed.
QUANTUM_SECONDS = 0.005


class Gate:
    """A lock on a file beside the database, held from BEGIN to COMMIT. Used in the writer's thread only.

    It protects two things. Fairness: SQLite has waiting writers sleep and try again, so that of four
    processes one may get nothing for seconds; the kernel queues those who wait for a lock. And the
    file: SQLite before 3.51.3 may corrupt it when two connections commit and checkpoint at the same
    instant (https://sqlite.org/wal.html#walresetbug).

    The database's own files are never opened here: closing them would drop SQLite's locks on them.
    """

    def __init__(self, database: str) -> None:
        self._path = Path(f"{database}.gate")
        self._file = -1
        self._since = 0.0

    @property
    def held(self) -> bool:
        return bool(self._since)

    def open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o660)

    def close(self) -> None:
        self._since = 0.0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def acquire(self) -> float:
        """Takes the lock. Returns how long that took, in seconds."""
        if self._since:
            return 0.0
        started = time.monotonic()
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._since = time.monotonic()
        return self._since - started

    def release(self, *, wanted: bool = False) -> None:
        """Releases the lock, unless there is more to commit and the time slice is not over."""
        if not self._since or (wanted and time.monotonic() - self._since < QUANTUM_SECONDS):
            return
        self._since = 0.0
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)


@contextlib.contextmanager
def closed_gate(database: Path) -> Iterator[None]:
    """For commands that write: their commits and checkpoints keep to the order too."""
    gate = Gate(str(database))
    gate.open()
    try:
        gate.acquire()
        yield
    finally:
        gate.close()
