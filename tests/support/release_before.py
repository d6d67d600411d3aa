"""The release before this one, as git has it. What it has started and installed goes on with this one."""

import subprocess
from pathlib import Path

from tests.support.deadlines import COMMAND_SECONDS
from tests.support.service import REPOSITORY

RELEASE_BEFORE = "f2e7595"


def unpack(folder: Path) -> None:
    """Fills `folder` with the files of that release."""
    archive = subprocess.run(
        ["git", "archive", RELEASE_BEFORE],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=COMMAND_SECONDS,
    )
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True, timeout=COMMAND_SECONDS)
