"""What an application has made while it was imported, and forked workers will not have or must not share."""

import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

FOUND = "Made at import: "  # how a line of `coachman check` begins, for the master that asks it
CHILDREN_SECONDS = 2.0  # for children of an import to end
POLL_SECONDS = 0.02
_SQLITE = b"SQLite format 3\0"


class Snapshot(NamedTuple):
    """The threads, open files and child processes of this process at one moment."""

    threads: frozenset[int]
    files: frozenset[int]
    children: frozenset[int]


def snapshot() -> Snapshot:
    return Snapshot(
        frozenset(thread.ident or 0 for thread in threading.enumerate()),
        frozenset(_open_files()),
        frozenset(children()),
    )


def since(before: Snapshot) -> list[str]:
    """A sentence's end for each thing made since: "the thread scheduler, which no worker will have"."""
    threads = sorted(one.name for one in threading.enumerate() if one.ident not in before.threads)
    found = [f"the thread {name}, which no worker will have" for name in threads]
    kinds = Counter(_kind(file) for file in sorted(set(_open_files()) - before.files))
    found += [f"{_counted(kind, n)}, which all workers would share" for kind, n in kinds.items() if kind]
    found += [
        f"the process {pid}, which is not a worker's child"
        for pid in sorted(set(children()) - before.children)
    ]
    return found


def _counted(kind: str, number: int) -> str:
    return kind if number == 1 else f"{kind} ({number} times)"


def _open_files() -> list[int]:
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names are numbers
    except OSError:
        return []
    return [number for number in numbers if _is_open(number)]  # less the one of the folder itself


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def children() -> list[int]:
    """The pids of this process's children; none where nobody knows."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def end_children() -> None:
    """Ends the processes that an import has started. One that does not end is left alone."""
    for pid in children():
        os.kill(pid, signal.SIGTERM)
    ends_at = time.monotonic() + CHILDREN_SECONDS
    with contextlib.suppress(ChildProcessError):  # raised when there is none
        while time.monotonic() < ends_at:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(POLL_SECONDS)


def leave_threads() -> None:
    """Ends this process now, with exit code 0, where a thread of an import would keep it for ever."""
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        sys.stdout.flush()
        os._exit(0)


def _kind(file: int) -> str:
    """What is open there, or nothing where a fork may have it too: a log file, a read file, a pipe."""
    try:
        mode = os.fstat(file).st_mode
        target = os.readlink(f"/proc/self/fd/{file}")  # noqa: PTH115 - no Path is wanted
    except OSError:
        return ""
    if stat.S_ISSOCK(mode):
        return "an open socket"
    if target.endswith("[eventpoll]"):
        return "an event loop"
    if stat.S_ISREG(mode) and _is_database(target):
        return f"a connection to the SQLite database {target}"
    return ""


def _is_database(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
