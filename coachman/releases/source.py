"""What a release is made of: a folder, a tarball of one, or a folder of wheels."""

import shutil
import tempfile
from pathlib import Path

from coachman.releases.command import RefusedError, last_lines, run

# What belongs to the place where the source was, not to the release.
LEFT_BEHIND = (
    ".git",
    ".venv",
    "venv",
    "var",
    "__pycache__",
    ".*_cache",
    ".coverage*",
    ".hypothesis",
    "node_modules",
)
CONFIGURATION = "gunicorn.conf.py"
UNPACK_SECONDS = 600


def wheels_in(source: Path) -> list[Path]:
    """Returns the wheels in `source`; none when it is a project or a file."""
    if not source.is_dir() or (source / "requirements.txt").exists():
        return []
    return sorted(source.glob("*.whl"))


def copy(source: Path, folder: Path) -> None:
    """Copies `source` to `folder`, a new one. Raises RefusedError when it is nothing to release."""
    if wheels_in(source):
        folder.mkdir()
    elif source.is_dir():
        _copy_folder(source, folder)
    elif source.is_file():
        _unpack(source, folder)
    else:
        raise RefusedError(f"{source} is not there: name a folder, a tarball or a folder of wheels.")
    _make_readable(folder)


def _copy_folder(source: Path, folder: Path) -> None:
    if not (source / "requirements.txt").is_file():
        raise RefusedError(f"{source} has no requirements.txt: a release installs what stands there.")
    try:
        shutil.copytree(source, folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    except shutil.Error as error:
        raise RefusedError(f"{source} cannot be copied: {error.args[0][0][2]}.") from None


def _unpack(tarball: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacked.") as name:
        unpacked = Path(name)
        done = run("tar", "--no-same-owner", "-xf", str(tarball), "-C", name, seconds=UNPACK_SECONDS)
        if done.returncode:
            raise RefusedError(f"{tarball} cannot be unpacked: {last_lines(done.stdout, 1)}")
        inside = list(unpacked.iterdir())
        is_wrapped = len(inside) == 1 and inside[0].is_dir()
        _copy_folder(inside[0] if is_wrapped else unpacked, folder)


def _make_readable(folder: Path) -> None:
    """Lets the service's user read the release, whatever the umask was where the source was made."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
