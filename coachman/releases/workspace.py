"""A member of a uv workspace as a release: the member's files are at the release's top, as links."""

import re
from pathlib import Path
from typing import Any

from coachman.releases.command import RefusedError
from coachman.system import project_file

FOLDER = ".workspace"  # of the whole workspace, in the release of one member


def root_of(release: Path) -> Path:
    """Returns the folder in a release that was copied: with what it is installed from."""
    workspace = release / FOLDER
    return workspace if workspace.is_dir() else release


def member(root: Path, package: str) -> Path:
    """Returns the folder of the member that is named `package`. Raises RefusedError when there is none."""
    folders = [root, *_members(root)]
    names = {_normalized(_name(folder)): folder for folder in folders if _name(folder)}
    if _normalized(package) not in names:
        there = ", ".join(sorted(names)) or "none"
        raise RefusedError(f"--package {package}: {root} has no such package; there is: {there}.")
    return names[_normalized(package)]


def link(release: Path, folder: Path) -> None:
    """Puts a link to each file of a member at the top of a release, from which the service starts."""
    for path in folder.iterdir():
        (release / path.name).symlink_to(path.relative_to(release))


def lock_above(project: Path) -> Path | None:
    """Returns the root of the workspace that `project` is a member of, when its uv.lock is there."""
    for folder in project.parents:
        if (folder / "uv.lock").is_file() and project in _members(folder):
            return folder
    return None


def _members(root: Path) -> list[Path]:
    workspace = _table(root).get("tool", {}).get("uv", {}).get("workspace", {})
    patterns, excluded = workspace.get("members", []), workspace.get("exclude", [])
    left = {path for pattern in excluded for path in root.glob(pattern)}
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_dir()} - left)


def _name(folder: Path) -> str:
    return str(_table(folder).get("project", {}).get("name", ""))


def _table(folder: Path) -> dict[str, Any]:
    try:
        return project_file.whole(folder)
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
