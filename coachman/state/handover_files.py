"""The files that the operator's command and two masters exchange in a handover."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from coachman.logs import formatters
from coachman.system.environment_names import OF_ONE_PROCESS

_FRESH_SECONDS = 10.0


def log_path(folder: Path) -> Path:
    """Returns the file of the new generation's log lines until it is accepted, and of a refusal's reason."""
    return folder / "handover.log"


def note(text: str, folder: Path) -> None:
    """Appends a line for the command that asked for the handover."""
    with contextlib.suppress(OSError), log_path(folder).open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def tail(folder: Path, lines: int = 20) -> str:
    """Returns the last log lines of the refused generation; empty if there are none."""
    with contextlib.suppress(OSError):
        said = log_path(folder).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(formatters.readable(line) for line in said[-lines:])
    return ""


def offer_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Runs in the operator's command: the next generation starts with this environment."""
    withdraw_environment(folder)
    draft = _environment_draft(folder)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in environment.items() if key not in OF_ONE_PROCESS}, file)
    draft.rename(_environment_path(folder))


def withdraw_environment(folder: Path) -> None:
    for path in (_environment_path(folder), _environment_draft(folder)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def take_offered_environment(folder: Path, environment: dict[str, str]) -> None:
    path = _environment_path(folder)
    try:
        age = time.time() - path.stat().st_mtime
        text = path.read_text(encoding="utf-8")
        path.unlink()
    except FileNotFoundError:
        return
    if age < _FRESH_SECONDS:  # else of a command that was killed
        offered = json.loads(text)
        kept = {key: value for key, value in environment.items() if key in OF_ONE_PROCESS}
        environment.clear()
        environment.update(offered | kept)


def _environment_path(folder: Path) -> Path:
    return folder / "handover.env"


def _environment_draft(folder: Path) -> Path:
    return folder / ".handover.env"
