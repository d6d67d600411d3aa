"""What the operating system knows about a process, and how a process ends."""

import atexit
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
START_FAILED = 3  # the exit code of a service that does not start; Gunicorn and Uvicorn end with the same

WITHOUT_FOLDER = "-P"  # of Python's options
_PR_SET_PDEATHSIG = 1

log = logging.getLogger("coachman.system")


def end_with_master(master_pid: int) -> None:
    """Has Linux kill this process when its master ends, whatever it is doing by then.

    A worker whose master is gone must not go on serving: it would hold the port beside the next
    service. SIGKILL is the one signal that also ends a process that is stopped or blocked in C. Called
    after the change of user, which would cancel it; a master that has ended before is noticed here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != master_pid:
        os._exit(0)


def without_folder() -> list[str]:
    """The option that `python -m coachman` leaves the present folder out of its imports by.

    A project's calendar.py or queue.py would else be imported in the place of Python's. The application is
    imported from its folder all the same, later. In a checkout Coachman itself is in the present folder.
    """
    return [] if Path("coachman/__init__.py").is_file() else [WITHOUT_FOLDER]


def reseed_random_numbers() -> None:
    """Gives a fork random numbers of its own.

    Python does so for `random`; NumPy's global generator would give each worker the same ones, and each
    worker that replaces one again.
    """
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def leave(end: SystemExit, linger_seconds: float | None = None) -> NoReturn:
    """Ends a forked process without tearing down every module, as multiprocessing does.

    A sentence in the place of the exit code is written to standard error, as Python does at its own end.
    That would copy each page that the worker shares with its master, and takes some tenths of a second,
    which a stop of many workers at once has not got. A thread that still works is waited for, as usual, but
    no longer than `linger_seconds`, if that is given.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        if linger_seconds is not None:
            _leave_in(linger_seconds, end)
        raise end
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(end.code if isinstance(end.code, int) else bool(end.code))


def _leave_in(seconds: float, end: SystemExit) -> None:
    """Ends this process after that many seconds if its threads are still running, and names them."""

    def leave_now() -> None:
        names = ", ".join(thread.name for thread in threading.enumerate() if not thread.daemon)
        names = names.replace("MainThread, ", "")
        log.warning("The application has not ended its thread %s; its process ends without it", names)
        os._exit(end.code if isinstance(end.code, int) else bool(end.code))

    timer = threading.Timer(seconds, leave_now)
    timer.daemon = True
    timer.start()


def release_name() -> str:
    """Returns the name of the folder that the master was started in: with releases, the release's id."""
    with contextlib.suppress(FileNotFoundError):  # the folder has been removed
        return Path.cwd().name
    return ""


def rss_bytes() -> int:
    """Returns this process's resident memory in bytes, 0 where there is no /proc."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def pss_bytes(pid: int) -> int:
    """Returns a process's memory in bytes, with its part of the pages that it shares; 0 if nobody may know.

    The kernel looks at each page for it: about a millisecond for 100 MiB.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by SIGSTOP, or by Ctrl-Z at its terminal. False where nobody knows."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T ")
    except OSError:
        return False
