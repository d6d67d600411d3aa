"""Re-exec of the master (SIGUSR2): environment, pre-flight check, inherited sockets.

Everything here runs in the old master's fork, before it becomes the new master by exec. The old master's
side of a handover is handover.py.
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from coachman.master import preload
from coachman.state.handover_files import log_path, note, take_offered_environment
from coachman.system.environment_names import (
    HANDOVER_LOG,
    LISTEN_FDNAMES,
    MADE_AT_IMPORT,
    RUNTIME_DIR,
    RUNTIME_DIRECTORY,
    WATCHDOG_PID,
)
from coachman.system.process import WITHOUT_FOLDER, end_with_master, without_folder

FIRST_ACTIVATED = 3  # SD_LISTEN_FDS_START
LEAST_CHECK_SECONDS = 30.0


class ReexecContext(NamedTuple):
    """What the fork needs to know about the master that it was forked from."""

    environment: dict[str, str]  # of the new master; changed in place, for Gunicorn copies it right after
    python: str
    arguments: Sequence[str]  # of the command line, the program's name left out
    cwd: str  # the folder that the master was started in: by now it may be another release
    runtime_dir: Path
    listener_kinds: Sequence[str]
    activated_files: Sequence[int]  # the listeners' descriptors where systemd has opened them, else none
    signals: Sequence[signal.Signals]  # those that the master handles
    check_seconds: float  # the limit of the check


def check_seconds(boot_seconds: float) -> float:
    """How long the check may take: COACHMAN_BOOT_SECONDS, but never too short for Python and its imports.

    A worker's start is short where the master has loaded the application, and so may that setting be.
    """
    return max(LEAST_CHECK_SECONDS, boot_seconds)


def prepare(context: ReexecContext) -> None:
    """Checks the release before it runs, and prepares its environment.

    Ends this process with the release's own sentence when no master could start from it.
    """
    for signum in context.signals:
        signal.signal(signum, signal.SIG_DFL)
    folder = context.runtime_dir.absolute()
    environment = context.environment
    take_offered_environment(folder, environment)
    environment[HANDOVER_LOG] = str(log_path(folder))
    environment.pop(MADE_AT_IMPORT, None)  # of the release before
    environment[LISTEN_FDNAMES] = ":".join(context.listener_kinds)
    if not Path(environment.get(RUNTIME_DIR) or environment.get(RUNTIME_DIRECTORY) or "").is_absolute():
        environment[RUNTIME_DIR] = str(folder)  # else that of the same name in the new release
    if WATCHDOG_PID in environment:
        environment[WATCHDOG_PID] = str(os.getpid())
    os.chdir(context.cwd)
    said = _check(
        [context.python, *without_folder(), "-m", "coachman", "check", *_flags(context.arguments)],
        environment,
        folder,
        context.check_seconds,
    )
    preload.note_check(environment, said)
    _restore_activated(context.activated_files)


def _flags(arguments: Sequence[str]) -> Sequence[str]:
    """Those of `python -m coachman run FLAGS`, which `check` takes too; of another command none."""
    words = [word for word in arguments if word != WITHOUT_FOLDER]
    return words[3:] if words[:3] == ["-m", "coachman", "run"] else ()


def _check(command: list[str], environment: dict[str, str], folder: Path, seconds: float) -> str:
    """Runs `coachman check` of the new release, which is how releases of any version ask each other.

    Returns what it printed.
    """
    ours = os.getpid()
    try:
        # A file, not a pipe: whatever the application's import starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            code = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                preexec_fn=lambda: end_with_master(ours),  # or an import that hangs would outlive us
            ).returncode
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        fail(f"The application was not loaded within {seconds:g} s; raise COACHMAN_BOOT_SECONDS.", folder)
    except OSError as error:
        if error.filename == command[0]:
            fail(f"{command[0]}: {error.strerror}. The release has no virtual environment.", folder)
        fail(f"The new release cannot be checked: {(error.strerror or str(error)).lower()}.", folder)
    if code:
        fail(said or f"`coachman check` ended with {_end(code)}, without a word.", folder)
    return said


def _end(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def fail(text: str, folder: Path) -> NoReturn:
    """Logs why the re-exec failed, and exits the fork."""
    note(text, folder)
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


def _restore_activated(files: Sequence[int]) -> None:
    """Moves the activated sockets back, for Gunicorn tells the next master that they are where they were."""
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_ACTIVATED + len(files)) for file in files]
    for file in files:
        os.set_inheritable(file, False)
    for number, file in enumerate(high):
        os.dup2(file, FIRST_ACTIVATED + number)
        os.close(file)
