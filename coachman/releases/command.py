"""Runs other programs, whose outcome is one sentence: what ends a release is a RefusedError."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


class RefusedError(Exception):
    """One sentence for the operator: what is wrong, and what to do."""


def run(
    *command: str,
    seconds: float = 60,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Runs `command` to its end, with what it prints, errors too, as its `stdout`.

    `environment` takes the place of ours.

    Raises RefusedError when it cannot be started or has not ended within `seconds`. An exit code other than 0
    is for the caller to judge.
    """
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"`{' '.join(command[:4])}` has not ended within {seconds:g} s.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RefusedError(f"`{command[0]}` cannot be run here: {reason}.") from None


def last_lines(text: str, count: int = 12) -> str:
    """The end of what a program printed."""
    return "\n".join(text.strip().splitlines()[-count:])
