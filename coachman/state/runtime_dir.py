"""The folder of a master's scoreboard, where the operator's command reads it without asking the master."""

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from coachman.state.scoreboard import MEMORY_BYTES, Scoreboard
from coachman.state.states import STAYING, State

INSTALLED = Path("/run/coachman")  # the RuntimeDirectory of the shipped unit


log = logging.getLogger("coachman.state")


class InUseError(Exception):
    """Another master's scoreboard is here."""


class OtherLayoutError(Exception):
    """A living master's scoreboard is here, of another Coachman."""


def open_scoreboard(folder: Path, pid: int, *, parent: int = 0) -> Scoreboard:
    """As publish, or the end of the process with one sentence. In memory without a folder to write to."""
    try:
        return publish(folder, pid, parent=parent)
    except InUseError as error:
        raise SystemExit(f"COACHMAN_RUNTIME_DIR={folder}: {error}.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if parent:  # which would wait for it in vain
            raise SystemExit(f"COACHMAN_RUNTIME_DIR={folder}: {reason}.") from None
        log.warning(
            "COACHMAN_RUNTIME_DIR=%s: %s. The service runs; `coachman status` cannot see it.", folder, reason
        )
        return Scoreboard.create()


def publish(folder: Path, pid: int, *, parent: int = 0) -> Scoreboard:
    """Runs in the master: a scoreboard in a file of `folder`. Raises OSError, or InUseError with a sentence.

    `parent` is the master that hands over to this one: both may be here for a while.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path, other in _files(folder):
        if not _is_held(path):
            path.unlink(missing_ok=True)  # of a master that was killed
        elif other != parent:
            raise InUseError(_in_use(folder, other))
    path_of(folder, pid).unlink(missing_ok=True)
    draft = folder / f".scoreboard.{pid}"
    # Never closed: the lock says that this master lives, and the kernel gives it back when it does not.
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.fchmod(file, 0o644)  # whatever the umask: nothing in it is secret
    fcntl.lockf(file, fcntl.LOCK_EX)
    # Writing to a page that the disk has no room for would end the process with SIGBUS.
    try:
        os.posix_fallocate(file, 0, MEMORY_BYTES)
    except OSError:
        draft.unlink()
        raise
    scoreboard = Scoreboard.create(mmap.mmap(file, MEMORY_BYTES))
    draft.rename(path_of(folder, pid))
    return scoreboard


def _in_use(folder: Path, other: int) -> str:
    """Why there is no place for this master beside `other`, and what to do."""
    found = None
    with contextlib.suppress(OSError, OtherLayoutError):
        found = scoreboard_of(folder, other)
    states = {row.state for _, row in found.rows()} if found is not None else set()
    if State.DRAINING in states and not states.intersection(STAYING):
        return f"the master {other} there still drains. Start again when it has ended"
    return f"the master {other} of another service is there. Stop it, or give this one a folder of its own"


def republish(folder: Path, pid: int) -> None:
    """Runs in the master, when somebody has removed `folder`: makes it, and the scoreboard's name, again.

    The name is a link to the file, which has none any more and which the master has open: its workers go on
    writing to it. Raises OSError.
    """
    path = path_of(folder, pid)
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that this reads the folder with
            if file.readlink().name.removesuffix(" (deleted)") == path.name:
                ops_folder(folder).mkdir(parents=True, exist_ok=True)
                path.symlink_to(f"/proc/{pid}/fd/{file.name}")
                return
    raise FileNotFoundError(errno.ENOENT, "the scoreboard is not open any more")


def withdraw(folder: Path, pid: int) -> None:
    """Removes the scoreboard's name. Runs in the master, when it ends."""
    with contextlib.suppress(OSError):
        path_of(folder, pid).unlink(missing_ok=True)


def path_of(folder: Path, pid: int) -> Path:
    return folder / f"scoreboard.{pid}"


def is_published(folder: Path, pid: int) -> bool:
    """Whether the scoreboard's file exists; False without permission, for which Path.exists() raises."""
    return os.path.exists(path_of(folder, pid))  # noqa: PTH110


def scoreboard_of(folder: Path, pid: int) -> Scoreboard | None:
    """Returns the scoreboard of a living master; not for that master itself. Raises OtherLayoutError."""
    path = path_of(folder, pid)
    try:
        with path.open("rb") as file:
            if not _is_held(path):
                return None
            return Scoreboard.attach(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        return None
    except ValueError:
        raise OtherLayoutError(f"the master {pid} there is of another version of Coachman") from None


def scoreboards(folder: Path) -> list[Scoreboard]:
    """Returns the scoreboards of living masters, the newest generation first: two during a handover."""
    found = [board for _, pid in _files(folder) if (board := scoreboard_of(folder, pid)) is not None]
    named = [board for board in found if board.service.pid]  # else it has just been made
    return sorted(named, key=lambda scoreboard: scoreboard.service.generation, reverse=True)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Raises PermissionError, which glob() would pass over."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.iterdir()):
            if match := re.fullmatch(r"scoreboard\.(\d+)", path.name):
                yield path, int(match[1])


def _is_held(path: Path) -> bool:
    """Whether the master that made the file lives. Must not be called by that master for its own file."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def ops_folder(runtime_dir: Path) -> Path:
    """The folder of what outlives a generation: counters, events, history."""
    return runtime_dir / "ops"


PARITIES = (0, 1)


def parity(generation: int) -> int:
    """Which of the two sets of files a generation writes, for two may live at once: PARITIES are all."""
    return generation % len(PARITIES)
