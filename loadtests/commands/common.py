"""Options and endings that the commands share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console

FAILURE, NO_ANSWER = 1, 3
RUNS = Path("var/loadtests")

Attach = Annotated[
    bool, typer.Option("--attach", help="Measure the service that runs, scale it, and put it back.")
]
Url = Annotated[str, typer.Option(help="Of the service that runs.")]
OpsUrl = Annotated[str, typer.Option(help="Its ops listener.")]
Coachman = Annotated[
    str,
    typer.Option(help="Its command, such as /opt/coachman/current/.venv/bin/coachman."),
]
Out = Annotated[Path | None, typer.Option(help="The folder to keep everything in; by default a new one.")]


def console() -> Console:
    return Console(highlight=False, markup=False, soft_wrap=True)


def fail(message: object, code: int = FAILURE) -> NoReturn:
    """Ends the command with `message` on standard error."""
    typer.echo(str(message), err=True)
    raise typer.Exit(code)


def require_this_machine(url: str) -> None:
    """Ends the command for a service on another machine: CPU and memory are read from this one's /proc."""
    if urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
        fail(
            f"--url {url} is refused: it must be on this machine, whose /proc is read. "
            "Load from elsewhere: locust -f loadtests/locustfile.py --host URL"
        )


def new_folder(kind: str, out: Path | None) -> Path:
    folder = out or RUNS / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--out {folder} is refused: {error.strerror}; name another folder.")
    return folder
