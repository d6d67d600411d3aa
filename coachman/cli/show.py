"""`coachman show`: the product in one look. Killed workers, a handover and a refused release under load."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from coachman.cli._service import fail
from coachman.cli._show_load import CLIENTS, Counts, Load
from coachman.state.runtime_dir import scoreboards
from coachman.state.scoreboard import Scoreboard
from coachman.system.process import without_folder

START_SECONDS = 120.0
STOP_SECONDS = 40.0
POLL_SECONDS = 0.1
HOST = "127.0.0.1"
MISSING = "no_such_release:app"  # a release that cannot be loaded
KILLS = 2
ACTS = ("load", "kill", "handover", "refused")
_OF_OTHERS = ("COACHMAN_HOST", "COACHMAN_PORT", "COACHMAN_UDS", "PORT", "MAINPID")
_COACHMAN = (sys.executable, *without_folder(), "-m", "coachman")


class Stage(NamedTuple):
    """The service of the show."""

    port: int
    folder: Path  # its runtime directory
    environment: dict[str, str]

    def scoreboard(self) -> Scoreboard:
        """Of the generation that serves. Ends the command where there is none any more."""
        found = scoreboards(self.folder)
        if not found:
            fail("The service of the show has ended.")
        return found[0]


def show(
    seconds: Annotated[
        float, typer.Option(min=4, max=3600, help="How long the load runs beside the handovers.")
    ] = 40,
    path: Annotated[str, typer.Option(help="What is asked for, with GET.")] = "/",
) -> None:
    """Show what Coachman does, in about a minute: load, two killed workers, a handover, a refused release.

    It serves the application of this folder with two workers on free ports, beside whatever else runs, and
    counts each request. Exit code: 0 what is promised held, 1 it did not.
    """
    with _stage() as stage:
        load = Load(HOST, stage.port, path)
        try:
            has_refused = _play(stage, load, seconds / len(ACTS))
        finally:
            load.stop()
    counts = {act: load.counts(act) for act in ACTS}
    typer.echo("\n" + outcome(counts, has_refused=has_refused))
    raise typer.Exit(0 if has_held(counts, has_refused=has_refused) else 1)


def has_held(counts: Mapping[str, Counts], *, has_refused: bool) -> bool:
    """Whether only the kills have cost requests."""
    others = [one for act, one in counts.items() if act != "kill"]
    is_refused_none = not any(one.refused for one in counts.values())
    return has_refused and is_refused_none and not any(one.lost for one in others)


def outcome(counts: Mapping[str, Counts], *, has_refused: bool) -> str:
    """The last lines: what was lost and what was not."""
    total = Counts(*map(sum, zip(*counts.values(), strict=True)))
    lines = [
        f"{total.answered + total.failed:,} requests were answered, {total.failed:,} of them with an error",
        f"{counts['kill'].lost:>7,} lost by the two killed workers",
        f"{counts['handover'].lost:>7,} lost by the handover",
        f"{counts['refused'].lost:>7,} lost by the refused release",
        f"{total.refused:>7,} connections refused",
    ]
    if not has_refused:
        lines.append("The release that cannot be loaded was not refused.")
    return "\n".join(lines)


def _play(stage: Stage, load: Load, pause: float) -> bool:
    """Returns whether the release that cannot be loaded was refused."""
    load.begin("load")
    typer.echo(f"{CLIENTS} clients ask for http://{HOST}:{stage.port}{load.path} all the time")
    time.sleep(pause)
    load.begin("kill")
    for _ in range(KILLS):
        typer.echo("\nA worker is killed")
        _run(stage, "kill-worker", "--any")
        time.sleep(pause / KILLS)
    load.begin("handover")
    typer.echo("\nA new release takes over: what is in this folder now")
    _run(stage, "handover")
    time.sleep(pause)
    load.begin("refused")
    typer.echo("\nA release that cannot be loaded wants to take over")
    has_refused = _refused(stage)
    time.sleep(pause)
    return has_refused


def _run(stage: Stage, *command: str) -> None:
    done = subprocess.run([*_COACHMAN, *command], env=stage.environment, check=False)
    if done.returncode:
        fail(f"`coachman {' '.join(command)}` ended with exit code {done.returncode}.")


def _refused(stage: Stage) -> bool:
    """Whether the handover was refused. It gets its settings as `systemctl reload` would give them."""
    asked = {"COACHMAN_APP": MISSING, "MAINPID": str(stage.scoreboard().service.pid)}
    done = subprocess.run(
        [*_COACHMAN, "handover"],
        env=stage.environment | asked,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        typer.echo(_indented(line))
    return done.returncode == 1


def _indented(line: str) -> str:
    """Below the steps of a handover, within the terminal."""
    indent, width = " " * 11, shutil.get_terminal_size().columns
    return textwrap.fill(line, max(40, width), initial_indent=indent, subsequent_indent=indent)


@contextlib.contextmanager
def _stage() -> Iterator[Stage]:
    """A service of two workers on free ports, which ends with the show."""
    with tempfile.TemporaryDirectory(prefix="coachman-show-") as name:
        folder = Path(name)
        port = _free_port()
        own = {
            "COACHMAN_BIND": f"{HOST}:{port}",
            "COACHMAN_OPS_BIND": f"{HOST}:{_free_port()}",
            "COACHMAN_RUNTIME_DIR": str(folder / "run"),
            "COACHMAN_WORKERS": "2",
        }
        environment = {key: value for key, value in os.environ.items() if key not in _OF_OTHERS} | own
        stage = Stage(port, folder / "run", environment)
        log = folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*_COACHMAN, "run"], env=environment, stdout=file, stderr=file, start_new_session=True
            )
        try:
            _wait_until_ready(stage, process, log)
            yield stage
        finally:
            _end(stage, process)


def _wait_until_ready(stage: Stage, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not any(one.was_ready for one in scoreboards(stage.folder)):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").splitlines()[-1:]
            fail("\n".join(["The application of this folder does not start:", *last]))
        time.sleep(POLL_SECONDS)


def _end(stage: Stage, process: "subprocess.Popen[bytes]") -> None:
    """Ends all masters. The first one has ended by itself when it has handed over."""
    deadline = time.monotonic() + STOP_SECONDS
    told: set[int] = set()
    while (left := {one.service.pid for one in scoreboards(stage.folder)}) and time.monotonic() < deadline:
        for pid in left - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        told |= left
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()) if told else 0)
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
