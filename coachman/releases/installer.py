"""Installs packages into a release, by uv where it is on the machine, else by pip."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from coachman.releases.command import RefusedError, last_lines, run
from coachman.releases.layout import Layout, Release
from coachman.releases.requirements import Requirements

INSTALL_SECONDS = 1800
LISTED = "requirements.txt"  # in the virtual environment: what was installed


class Installer(NamedTuple):
    """What installs, and from where."""

    layout: Layout
    release: Release
    folder: Path  # in which the project's files are
    uv: str | None
    wheels: Path | None  # instead of the package index

    def make_environment(self, python: str) -> None:
        """Makes the release's virtual environment. `python` is a path, or a version for uv to bring."""
        place = str(self.release.folder / ".venv")
        if python.startswith("/"):
            self.step(python, "-m", "venv", "--without-pip", place)
        else:
            self.step(self._required_uv(), "venv", "--quiet", "--no-project", "--python", python, place)

    def install(self, *arguments: str) -> None:
        """Runs `uv pip install` or `pip install` for the release."""
        where = ["--no-index", "--find-links", str(self.wheels.resolve())] if self.wheels else []
        if self.uv:
            self._uv_pip("install", "--quiet", "--compile-bytecode", *where, *arguments)
        else:
            self._pip("install", "--quiet", "--no-input", "--no-cache-dir", *where, *arguments)

    def install_all(self, wanted: Requirements) -> None:
        """Installs what has hashes with them, then the rest, then the project's own folders."""
        alone = ["--no-deps"] if wanted.is_locked else []
        if wanted.hashed:
            self._install_listed(wanted.hashed, LISTED, *alone, "--require-hashes")
        if wanted.plain:
            self._install_listed(wanted.plain, f"plain-{LISTED}", *alone)
        for place in wanted.editable:
            folder = str((self.folder / place).resolve())
            # Where it gets its packages from is settled by the lock.
            self.install("--no-deps", *(["--no-sources"] if self.uv else []), "--editable", folder)

    def sync(self, package: str | None) -> None:
        """Installs what uv.lock names, as uv does for a developer, less what is for development."""
        self.step(
            *(self._required_uv(), "sync", "--quiet", "--locked", "--no-dev", "--compile-bytecode"),
            *self._chosen(package),
        )

    def export(self, package: str | None) -> str:
        """Returns what uv.lock names as requirements, for an installation without the index."""
        path = self.release.folder / ".venv" / f"exported-{LISTED}"
        self.step(
            *(self._required_uv(), "export", "--quiet", "--locked", "--offline", "--no-dev", "--no-annotate"),
            *("--no-header", "--output-file", str(path), *self._chosen(package)),
        )
        return path.read_text(encoding="utf-8")

    def check(self) -> None:
        """Raises RefusedError when a package lacks another, or has one of a version that does not fit."""
        if self.uv:
            self._uv_pip("check", "--quiet")
        else:
            self._pip("check")

    def step(self, *command: str) -> None:
        """Runs a command in the project's folder. Raises RefusedError with its last lines."""
        # uv's cache and interpreters are on the release's disk, and where the service may read them.
        own = {
            "UV_CACHE_DIR": str(self.layout.root / "cache"),
            "UV_PYTHON_INSTALL_DIR": str(self.layout.root / "python"),
            "UV_PROJECT_ENVIRONMENT": str(self.release.folder / ".venv"),
        }
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | own
        done = run(*command, seconds=INSTALL_SECONDS, folder=self.folder, environment=environment)
        if done.returncode:
            raise RefusedError(f"The packages cannot be installed:\n{last_lines(done.stdout)}")

    def _install_listed(self, lines: Sequence[str], name: str, *options: str) -> None:
        # In the project's folder, from which paths in it are meant; it stays beside what it has installed.
        path = self.folder / f".coachman-{name}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.install(*options, "--requirement", str(path))
        path.replace(self.release.folder / ".venv" / name)

    def _uv_pip(self, verb: str, *arguments: str) -> None:
        self.step(self._required_uv(), "pip", verb, "--python", str(self.release.python), *arguments)

    def _pip(self, *arguments: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.release.python)]
        self.step(*pip, "--disable-pip-version-check", *arguments)

    def _chosen(self, package: str | None) -> list[str]:
        return ["--python", str(self.release.python), *(["--package", package] if package else [])]

    def _required_uv(self) -> str:
        if self.uv is None:
            raise RefusedError("uv.lock is read by uv, and there is none on this machine.")
        return self.uv


def find_uv() -> str | None:
    """Returns the path of uv: on the PATH, beside this command, or where its installer puts it."""
    beside = [Path(sys.executable).parent, Path.home() / ".local" / "bin", Path("/usr/local/bin")]
    return shutil.which("uv") or shutil.which("uv", path=":".join(map(str, beside)))
