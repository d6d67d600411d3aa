"""What git knows of a project: what it ignores, and which commit it is at."""

import shutil
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from coachman.releases.command import run

_SECONDS = 60
# The operator is root, and the checkout mostly somebody else's: nothing that its configuration names is run.
_SAFELY = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
_IGNORED = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")


def ignored(project: Path) -> list[str] | None:
    """Returns the files and folders in `project` that git ignores; None where there is no git to say so.

    A project that is no checkout, such as an unpacked tarball, is taken for one with nothing committed.
    """
    if shutil.which("git") is None:
        return None if any(project.rglob(".gitignore")) else []
    if _git(project, "rev-parse", "--is-inside-work-tree").returncode == 0:
        listed = _git(project, *_IGNORED)
    else:
        with tempfile.TemporaryDirectory() as empty:
            _git(project, "init", "--quiet", "--bare", empty)
            listed = _git(project, f"--git-dir={empty}", f"--work-tree={project}", *_IGNORED)
    # All of it where another project's checkout, which this folder lies in, ignores the folder.
    is_of_another = listed.returncode or listed.stdout.startswith("./\0")
    return [] if is_of_another else [path.rstrip("/") for path in listed.stdout.split("\0") if path]


def _git(folder: Path, *arguments: str, seconds: float = _SECONDS) -> "CompletedProcess[str]":
    return run("git", *_SAFELY, *arguments, seconds=seconds, folder=folder)
