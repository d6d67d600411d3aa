"""Coachman itself on a machine: its wheel, and the environment of the operator's command."""

import base64
import hashlib
import sys
import tempfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import coachman
from coachman.machine.changes import Changes
from coachman.machine.units import TEMPLATES
from coachman.releases.command import RefusedError, run

ENVIRONMENT = Path("/opt/coachman/command")
COMMAND = Path("/usr/local/bin/coachman")
HOMES = ("/home", "/root", "/run/user")  # the unit's ProtectHome= hides them
_FITS = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_NOT_PACKED = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def put_wheel(folder: Path, changes: Changes) -> None:
    """Puts a wheel of the Coachman that runs here into `folder`, for releases that do not bring it."""
    changes.folder(folder, 0o755)
    if changes.is_dry:
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as draft:
        wheel = pack(Path(draft))
        for old in folder.glob("coachman-*.whl"):
            old.unlink()
        wheel.rename(folder / wheel.name)


def pack(folder: Path) -> Path:
    """Makes a wheel of the installed package that runs here, and returns it: releases get what is installed.

    Raises RefusedError where the package is not installed as one, but run from a checkout.
    """
    package = distribution("coachman")
    files = [path for path in package.files or [] if not path.parts[0].startswith("..")]
    kept = [
        path for path in files if "__pycache__" not in path.parts and not _is_of_the_installation(path.parts)
    ]
    if not any(path.as_posix() == "coachman/__init__.py" for path in kept):
        raise RefusedError(
            f"{Path(coachman.__file__).parent} is not installed: run deploy/install.sh of the checkout."
        )
    wheel = folder / f"coachman-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        record = []
        for path in kept:
            content = Path(str(path.locate())).read_bytes()
            archive.writestr(path.as_posix(), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{path.as_posix()},sha256={digest},{len(content)}")
        name = f"{_metadata_folder(package)}/RECORD"
        archive.writestr(name, "\n".join([*record, f"{name},,", ""]))
    return wheel


def _is_of_the_installation(parts: tuple[str, ...]) -> bool:
    return parts[0].endswith(".dist-info") and parts[-1] in _NOT_PACKED


def _metadata_folder(package: Distribution) -> str:
    return next(
        path.parts[0] for path in package.files or [] if path.parts[-1] == "METADATA" and len(path.parts) == 2
    )


def put_command(folder: Path, wheels: Path | None, changes: Changes) -> None:
    """Makes the environment of the operator's command from the wheel there, unless this runs in it."""
    if not runs_in_its_environment():
        changes.run(_interpreter(), "-m", "venv", "--clear", ENVIRONMENT)
        pip = (
            ENVIRONMENT / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
        )
        where = ("--no-index", "--find-links", wheels) if wheels else ()
        changes.run(*pip, "install", *where, *([] if changes.is_dry else folder.glob("coachman-*.whl")))
    changes.copy(TEMPLATES / "coachman.sh", COMMAND, 0o755)


def runs_in_its_environment() -> bool:
    """Whether this is the operator's command of the machine, which need not be made anew."""
    return Path(sys.prefix) == ENVIRONMENT


def _interpreter() -> str:
    """Returns a Python that the service's user can run: none in a user's home. Raises RefusedError."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    candidates = [str(base)] if not any(base.is_relative_to(home) for home in HOMES) else []
    for python in (*candidates, "/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(python).exists() and run(python, "-c", _FITS).returncode == 0:
            return python
    raise RefusedError(
        f"The service cannot run {base}, which lies in a user's home, and there is no other Python 3.11"
        " with its venv package here: install it first (apt-get install python3-venv)."
    )
