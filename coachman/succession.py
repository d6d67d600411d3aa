"""How a second master comes to be: the fork of the old one, before and after it becomes the new release.

The old master's side is handover.py.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from coachman import logs, output, runtime_dir
from coachman.process import end_with_master
from coachman.scoreboard import Phase, Scoreboard

if TYPE_CHECKING:
    from coachman.arbiter import Supervisor

CHECK_SECONDS = 30.0
FIRST_ACTIVATED = 3  # SD_LISTEN_FDS_START
_FRESH_SECONDS = 10.0
# What systemd says to one process, which a process that it starts later must not take for its own.
_OF_ONE_PROCESS = {
    *("MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "GUNICORN_PID", "GUNICORN_FD"),
}


def log_path(folder: Path) -> Path:
    """What the new generation says until it is accepted, and why it was refused."""
    return folder / "handover.log"


def offer_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Runs in the operator's command: the next generation starts with this environment."""
    withdraw_environment(folder)
    draft = _environment_draft(folder)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in environment.items() if key not in _OF_ONE_PROCESS}, file)
    draft.rename(_environment_path(folder))


def withdraw_environment(folder: Path) -> None:
    for path in (_environment_path(folder), _environment_draft(folder)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def prepare(arbiter: "Supervisor") -> None:
    """The pre_exec hook. Runs in the old master's fork, which Gunicorn makes a master by exec right after.

    Everything that can be known of the release before it runs is found out here, where nobody waits.
    """
    for signum in arbiter.SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    folder = arbiter.settings.runtime_dir.absolute()
    environment = arbiter.cfg.env_orig  # Gunicorn starts the new master with a copy of it
    _take_offered_environment(folder, environment)
    environment[output.COPY_VARIABLE] = str(log_path(folder))
    environment["LISTEN_FDNAMES"] = ":".join(arbiter.listener_kinds)
    if not Path(
        environment.get("COACHMAN_RUNTIME_DIR") or environment.get("RUNTIME_DIRECTORY") or ""
    ).is_absolute():
        environment["COACHMAN_RUNTIME_DIR"] = str(folder)  # else that of the same name in the new release
    if "WATCHDOG_PID" in environment:
        environment["WATCHDOG_PID"] = str(os.getpid())
    os.chdir(arbiter.START_CTX["cwd"])
    _check(arbiter.START_CTX[0], environment, folder)
    if arbiter.systemd:
        _put_back([listener.fileno() for listener in arbiter.LISTENERS])


class Succession:
    """Runs in a master: whether it speaks for the service, or still waits to be accepted."""

    def __init__(self, folder: Path, parent: int) -> None:
        self._parent = parent
        self._board: Scoreboard | None = None
        if parent:
            with contextlib.suppress(OSError, runtime_dir.OtherLayoutError):
                self._board = runtime_dir.scoreboard_of(folder, parent)
        if self._board is None and parent == os.getppid():
            # Not knowing whether it is accepted it would speak for the service beside the other.
            raise SystemExit(
                f"COACHMAN_RUNTIME_DIR={folder}: the scoreboard of master {parent} is gone, or laid out by"
                " another version of coachman. Restart the service instead."
            )
        self.generation = self._board.service.generation + 1 if self._board else 1

    def is_accepted(self) -> bool:
        if self._board is not None:
            service = self._board.service
            is_chosen = service.handover == Phase.ACCEPTED and service.successor == os.getpid()
            if is_chosen or os.getppid() != self._parent:
                self._board = None
        return self._board is None


def _take_offered_environment(folder: Path, environment: dict[str, str]) -> None:
    path = _environment_path(folder)
    try:
        age = time.time() - path.stat().st_mtime
        text = path.read_text(encoding="utf-8")
        path.unlink()
    except FileNotFoundError:
        return
    if age < _FRESH_SECONDS:  # else of a command that was killed
        offered = json.loads(text)
        kept = {key: value for key, value in environment.items() if key in _OF_ONE_PROCESS}
        environment.clear()
        environment.update(offered | kept)


def _check(python: str, environment: dict[str, str], folder: Path) -> None:
    """Ends this process with the release's own sentence when a master could not start from it."""
    command, ours = [python, "-m", "coachman", "check"], os.getpid()
    try:
        checked = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=CHECK_SECONDS,
            preexec_fn=lambda: end_with_master(ours),  # or an import that hangs would outlive us
        )
    except subprocess.TimeoutExpired:
        end(f"The application was not loaded within {CHECK_SECONDS:g} s.", folder)
    except OSError as error:
        end(f"{python}: {error.strerror}. The release has no virtual environment.", folder)
    if checked.returncode:
        end(checked.stdout.decode(errors="replace").strip(), folder)


def note(text: str, folder: Path) -> None:
    """For whoever asked for the handover."""
    with contextlib.suppress(OSError), log_path(folder).open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def end(text: str, folder: Path) -> NoReturn:
    """Runs in the fork: the last word of a master that does not come to be."""
    note(text, folder)
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


def _put_back(files: list[int]) -> None:
    """Gunicorn has moved the activated sockets, and tells the next master that they are where they were."""
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_ACTIVATED + len(files)) for file in files]
    for file in files:
        os.set_inheritable(file, False)
    for number, file in enumerate(high):
        os.dup2(file, FIRST_ACTIVATED + number)
        os.close(file)


def _environment_path(folder: Path) -> Path:
    return folder / "handover.env"


def _environment_draft(folder: Path) -> Path:
    return folder / ".handover.env"


def tail(folder: Path, lines: int = 20) -> str:
    """The last lines of the refused generation, empty when it said nothing."""
    with contextlib.suppress(OSError):
        said = log_path(folder).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(logs.readable(line) for line in said[-lines:])
    return ""
