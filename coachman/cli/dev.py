"""`coachman dev`: one process that starts anew when a file of the project changes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import typer

from coachman.cli._options import Given
from coachman.cli.run import prepare
from coachman.system.process import end_with_master, without_folder

STOP_SECONDS = 5.0
LOOK_MILLISECONDS = 500


def watch_and_serve(application: str, given: Given) -> None:
    """Runs `coachman serve` until Ctrl-C, and starts it anew after each change of a Python file.

    It does not outlive this process, nor the terminal: it would hold the port.
    """
    changes = _changes()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    prepare(application, {"access_log": "on", **given})
    typer.echo(f"Watching {Path.cwd()}: a change of a Python file starts the application anew.", err=True)
    process = _start()
    has_failed = False
    try:
        for changed in changes:
            if changed:
                typer.echo(f"{', '.join(changed)} changed: starting anew", err=True)
                _stop(process)
                process, has_failed = _start(), False
            elif process.poll() is not None and not has_failed:
                has_failed = True
                typer.echo("The application has ended; the next change starts it anew.", err=True)
    except KeyboardInterrupt:
        pass
    finally:
        _stop(process)


def _changes() -> Iterator[list[str]]:
    """The names of changed files, or nothing each time that none has changed for a moment."""
    try:
        import watchfiles  # an extra: only this command needs it
    except ImportError:
        raise SystemExit("coachman dev needs the package watchfiles; run: pip install watchfiles") from None
    seen: Iterator[set[tuple[Any, str]]] = watchfiles.watch(
        Path.cwd(),
        watch_filter=watchfiles.PythonFilter(),
        yield_on_timeout=True,
        rust_timeout=LOOK_MILLISECONDS,
    )
    return (sorted({os.path.relpath(path) for _, path in found}) for found in seen)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _start() -> subprocess.Popen[bytes]:
    ours = os.getpid()
    command = [sys.executable, *without_folder(), "-m", "coachman", "serve"]
    return subprocess.Popen(command, preexec_fn=lambda: end_with_master(ours))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends it with SIGQUIT, which gives open requests a second, and with SIGKILL when it does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
