"""What a release is made of: a folder, a tarball of one, or a folder of wheels."""

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from coachman.releases import checkout, private, requirements, workspace
from coachman.releases.command import RefusedError, last_lines, run
from coachman.releases.private import LeftBehind
from coachman.system import project_file

CONFIGURATION = "gunicorn.conf.py"
UNPACK_SECONDS = 600
_IMPORTS_OURS = re.compile(r"^\s*(?:from|import)\s+coachman\b", re.MULTILINE)


def wheels_in(source: Path) -> list[Path]:
    """Returns the wheels in `source`; none when it is a project or a file."""
    if not source.is_dir() or requirements.form_of(source):
        return []
    return sorted(source.glob("*.whl"))


def copy(source: Path, folder: Path, package: str | None = None) -> LeftBehind | None:
    """Copies `source` to `folder`, a new one, and returns what of a project was left behind.

    `package` is the member of a workspace. Raises RefusedError when it is nothing to release.
    """
    if wheels_in(source):
        folder.mkdir()
        return None
    if source.is_dir():
        return _copy_folder(source, folder, package)
    if source.is_file():
        return _unpack(source, folder, package)
    raise RefusedError(f"{source} is not there: name a folder, a tarball or a folder of wheels.")


def protect(folder: Path, owner: tuple[int, int] | None) -> None:
    """Takes from others what they may write, and gives the service what only the owner may read.

    `owner` is the service's user and group. Nothing becomes readable for others that was not before: a
    file of mode 0600 stays one, and is the service's, which cannot write in a release all the same.
    """
    private.require_no_readable_secret(folder)
    for path in private.files_of(folder):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode & 0o755)
        if owner is not None and not mode & private.OTHERS_READ:
            os.chown(path, *owner)


def _copy_folder(source: Path, folder: Path, package: str | None) -> LeftBehind:
    requirements.require_form(source)
    place = workspace.member(source, package).relative_to(source) if package else Path()
    _require_our_configuration(source / place)
    target = folder if place == Path() else folder / workspace.FOLDER
    left = LeftBehind(source, checkout.ignored(source), _included(source / place))
    try:
        shutil.copytree(source, target, symlinks=True, ignore=left)
    except shutil.Error as error:
        raise RefusedError(f"{source} cannot be copied: {error.args[0][0][2]}.") from None
    folder.chmod(0o755)  # not the source's, which may be a temporary folder
    if target != folder:
        workspace.link(folder, target / place)
    return left


def _require_our_configuration(folder: Path) -> None:
    """Raises RefusedError for a gunicorn.conf.py of the project's own.

    The unit's Gunicorn would read it in the place of Coachman's, and be a Gunicorn without Coachman.
    """
    path = folder / CONFIGURATION
    if path.is_file() and not _IMPORTS_OURS.search(path.read_text(encoding="utf-8", errors="replace")):
        raise RefusedError(
            f"{path} would be read in the place of Coachman's: move its values to [tool.coachman] in"
            f" {project_file.NAME} and remove it (their names: docs/migrating.md), or take out wsgi_app, bind"
            " and worker_class and begin it with `from coachman.gunicorn_config import *`."
        )


def _included(source: Path) -> list[str]:
    """Returns what pyproject.toml says is released whatever it is: `release-include` of tool.coachman."""
    try:
        patterns = project_file.table(source).get("release_include", [])
    except ValueError as error:
        raise RefusedError(str(error)) from None
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        raise RefusedError(
            f"{project_file.NAME}: tool.coachman.release-include is refused: it must be a list of paths, such"
            ' as ["static/dist"].'
        )
    return patterns


def _unpack(tarball: Path, folder: Path, package: str | None) -> LeftBehind:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacked.") as name:
        unpacked = Path(name)
        done = run("tar", "--no-same-owner", "-xf", str(tarball), "-C", name, seconds=UNPACK_SECONDS)
        if done.returncode:
            raise RefusedError(f"{tarball} cannot be unpacked: {last_lines(done.stdout, 1)}")
        inside = list(unpacked.iterdir())
        is_wrapped = len(inside) == 1 and inside[0].is_dir()
        return _copy_folder(inside[0] if is_wrapped else unpacked, folder, package)
