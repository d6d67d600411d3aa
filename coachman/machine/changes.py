"""Changes to the machine, each of which a dry run prints instead."""

import os
import shlex
import shutil
from pathlib import Path

from coachman.releases.command import RefusedError, last_lines, run

STEP_SECONDS = 600


class Changes:
    """Makes changes and says so, or with `is_dry` only says so. A change that fails is a RefusedError."""

    def __init__(self, *, is_dry: bool) -> None:
        self.is_dry = is_dry

    def say(self, step: str) -> None:
        """Prints the heading of a step."""
        print(f"==> {step}", flush=True)

    def run(self, *command: str | Path) -> None:
        """Runs a program to its end, whose output is shown only when it fails."""
        words = list(map(str, command))
        if self.is_dry:
            print(f"    {shlex.join(words)}")
            return
        done = run(*words, seconds=STEP_SECONDS)
        if done.returncode:
            raise RefusedError(f"`{shlex.join(words)}` failed: {last_lines(done.stdout)}")

    def attempt(self, *command: str) -> None:
        """Runs a program that may fail."""
        if self.is_dry:
            print(f"    {shlex.join(command)}")
        else:
            run(*command, seconds=STEP_SECONDS)

    def write(self, path: Path, text: str, mode: int = 0o644, group: str | None = None) -> None:
        """Writes a file, whole or not at all."""
        if self.is_dry:
            print(f"    write {path}")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        _own(draft, mode, group)
        draft.replace(path)

    def folder(self, path: Path, mode: int, group: str | None = None) -> None:
        """Makes a folder of root's, with that mode and group also where it is there already."""
        if self.is_dry:
            print(f"    make {path}/ (mode {mode:o})")
            return
        path.mkdir(parents=True, exist_ok=True)
        _own(path, mode, group)

    def copy(self, source: Path, path: Path, mode: int) -> None:
        """Copies a file into the place of another."""
        if self.is_dry:
            print(f"    copy {source} to {path}")
            return
        draft = path.with_name(f".{path.name}.new")
        shutil.copyfile(source, draft)
        draft.chmod(mode)
        draft.replace(path)

    def remove(self, path: Path) -> None:
        """Removes a file, or a folder with all that is in it; nothing where it is gone already."""
        if not os.path.lexists(path):
            return
        if self.is_dry:
            print(f"    remove {path}")
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def sync(self) -> None:
        """Writes all of it to the disk: after a power cut, units could be there and empty."""
        if not self.is_dry:
            os.sync()


def _own(path: Path, mode: int, group: str | None) -> None:
    shutil.chown(path, "root", group or "root")
    path.chmod(mode)
