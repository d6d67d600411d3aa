"""How a second master comes to be: the fork of the old one, before and after it becomes the new release.

The old master's side is handover.py.
"""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from coachman.state.handover_files import log_path, note, take_offered_environment
from coachman.system import stdio
from coachman.system.process import end_with_master

if TYPE_CHECKING:
    from coachman.master.supervisor import Supervisor

CHECK_SECONDS = 30.0
FIRST_ACTIVATED = 3  # SD_LISTEN_FDS_START
# What systemd says to one process, which a process that it starts later must not take for its own.


def prepare(arbiter: "Supervisor") -> None:
    """The pre_exec hook. Runs in the old master's fork, which Gunicorn makes a master by exec right after.

    Everything that can be known of the release before it runs is found out here, where nobody waits.
    """
    for signum in arbiter.SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    folder = arbiter.settings.runtime_dir.absolute()
    environment = arbiter.cfg.env_orig  # Gunicorn starts the new master with a copy of it
    take_offered_environment(folder, environment)
    environment[stdio.COPY_VARIABLE] = str(log_path(folder))
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
