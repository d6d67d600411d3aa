"""The virtual environment of a release: what its requirements.txt names, and Coachman."""

import shutil
import sys
from pathlib import Path

import coachman
from coachman.releases.command import RefusedError, last_lines, run
from coachman.releases.layout import Layout, Release
from coachman.releases.source import CONFIGURATION, wheels_in

INSTALL_SECONDS = 1800


def build(layout: Layout, release: Release, source: Path, wheels: Path | None) -> None:
    """Makes the virtual environment. `wheels` is a folder to install from, instead of the index."""
    base = getattr(sys, "_base_executable", sys.executable)  # or the environment would stand on ours
    _install_step(base, "-m", "venv", "--without-pip", str(release.folder / ".venv"))
    own = wheels_in(source)
    if own:
        _install(release, source, "--no-deps", *map(str, own))
    else:
        _install(release, wheels, *_how_locked(release), "--requirement", "requirements.txt")
    _add_coachman(layout, release, wheels or (source if own else None))
    _pip(release, "check")
    _compile(release)


def _compile(release: Release) -> None:
    """Compiles the release's files: the service may not write there, and would compile at every start.

    A file that does not compile is its own affair: nobody may ever import it.
    """
    command = [str(release.python), "-m", "compileall", "-q", "-x", r"/\.venv/", str(release.folder)]
    run(*command, seconds=INSTALL_SECONDS)


def _how_locked(release: Release) -> list[str]:
    """Returns pip's options for a requirements.txt with hashes, which names all there is to install."""
    is_hashed = "--hash=" in (release.folder / "requirements.txt").read_text(encoding="utf-8")
    return ["--no-deps", "--require-hashes"] if is_hashed else []


def _add_coachman(layout: Layout, release: Release, wheels: Path | None) -> None:
    """Adds Coachman where the application does not bring it; packages that both need stay as they are."""
    if not (release.folder / CONFIGURATION).exists():
        shutil.copyfile(_shipped_configuration(), release.folder / CONFIGURATION)
    if (release.folder / "coachman" / "__init__.py").exists() or _has(release, "coachman"):
        return
    found = sorted(layout.wheels.glob("coachman-*.whl"))
    if not found:
        raise RefusedError(f"There is no wheel of Coachman in {layout.wheels}: run install.sh again.")
    _install(release, wheels, str(found[-1]))


def _shipped_configuration() -> Path:
    """Returns the gunicorn.conf.py that ships: in the built package, or beside it in a checkout."""
    package = Path(coachman.__file__).parent
    places = [package / CONFIGURATION, package.parent / CONFIGURATION]
    return next(place for place in places if place.exists())


def _has(release: Release, module: str) -> bool:
    look = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return run(str(release.python), "-I", "-c", look).returncode == 0


def _install(release: Release, wheels: Path | None, *arguments: str) -> None:
    where = ["--no-index", "--find-links", str(wheels.resolve())] if wheels else []
    _pip(release, "install", "--quiet", "--no-input", "--no-cache-dir", *where, *arguments)


def _pip(release: Release, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(release.python), "--disable-pip-version-check"]
    _install_step(*pip, *arguments, folder=release.folder)


def _install_step(*command: str, folder: Path | None = None) -> None:
    done = run(*command, seconds=INSTALL_SECONDS, folder=folder)
    if done.returncode:
        raise RefusedError(f"The packages cannot be installed:\n{last_lines(done.stdout)}")
