"""Which Python a release runs on: the one that its project asks for."""

import operator
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from coachman.releases import workspace
from coachman.releases.command import RefusedError, run
from coachman.system import project_file

Version = tuple[int, ...]

OLDEST: Version = (3, 11)  # that Coachman runs on
_PIN = ".python-version"
_NEWEST_MINOR = 30
_COMPARISONS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(r"(?P<how>>=|<=|>|<|==|!=|~=)\s*(?P<version>\d+(\.\d+)*)(?P<any>\.\*)?")


class Wanted(NamedTuple):
    """What a project says of its Python."""

    pin: Version | None  # major and minor, of .python-version
    specifier: str  # requires-python, such as ">=3.12"

    def fits(self, version: Version) -> bool:
        is_pinned = self.pin is None or version[:2] == self.pin
        return is_pinned and version >= OLDEST and satisfies(version, self.specifier)

    def __str__(self) -> str:
        pin = [f"{_text(self.pin)} ({_PIN})"] if self.pin else []
        return " and ".join([*pin, *([f"{self.specifier} (requires-python)"] if self.specifier else [])])


def wanted(project: Path) -> Wanted:
    """Reads what the project asks for. Raises RefusedError when nobody can tell what it is."""
    try:
        table = project_file.whole(project).get("project", {})
    except ValueError as error:
        raise RefusedError(str(error)) from None
    specifier = str(table.get("requires-python", ""))
    satisfies(OLDEST, specifier)
    places = (project / _PIN, workspace.root_of(project) / _PIN)
    pin_file = next((path for path in places if path.is_file()), None)
    lines = pin_file.read_text(encoding="utf-8").splitlines() if pin_file else []
    # Also a name of pyenv's, such as "shop-env", which says nothing of a version.
    found = [re.match(r"(?:cpython-|python-?)?(\d+)\.(\d+)", line.strip()) for line in lines]
    pin = next(((int(one[1]), int(one[2])) for one in found if one), None)
    return Wanted(pin, specifier)


def choose(project: Path, uv: str | None) -> str:
    """Returns the path of an interpreter on this machine, or what uv is asked to bring.

    Raises RefusedError when the machine has none that fits, and no uv.
    """
    asked = wanted(project)
    # The base of this environment: one made from it would end with it.
    ours = getattr(sys, "_base_executable", sys.executable)
    if asked.fits(tuple(sys.version_info[:3])):
        return str(ours)
    if uv is not None:
        return _text(asked.pin) if asked.pin else asked.specifier or f">={_text(OLDEST)}"
    for minor in range(_NEWEST_MINOR, 0, -1):
        path = shutil.which(f"python3.{minor}")
        if path is not None and asked.fits(version_of(path)):
            return path
    raise RefusedError(
        f"It asks for Python {asked}, and this machine has {_text(tuple(sys.version_info[:3]))}: install uv,"
        " which brings what is asked for, or that Python and its venv package."
    )


def require_fit(project: Path, python: Path) -> str:
    """Returns the version of a release's Python. Raises RefusedError when it is not what is asked for."""
    asked, version = wanted(project), version_of(str(python))
    if version < OLDEST:
        raise RefusedError(f"It asks for Python {asked}, and Coachman needs {_text(OLDEST)} or newer.")
    if not asked.fits(version):
        raise RefusedError(f"It asks for Python {asked}: there is none that is both; correct one of them.")
    return _text(version)


def version_of(python: str) -> Version:
    """Asks an interpreter. Returns nothing that fits anybody when it cannot be run."""
    say = "import sys; print(*sys.version_info[:3])"
    done = run(python, "-I", "-c", say)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def satisfies(version: Version, specifier: str) -> bool:
    """Says whether `version` is in the set that a requires-python such as ">=3.11,<4" names."""
    return all(_agrees(version, clause.strip()) for clause in specifier.split(",") if clause.strip())


def _agrees(version: Version, clause: str) -> bool:
    parsed = _CLAUSE.fullmatch(clause)
    if parsed is None:
        raise RefusedError(f"requires-python is refused: {clause} is not a comparison such as >=3.11.")
    how, named = parsed["how"], tuple(map(int, parsed["version"].split(".")))
    if how == "~=":
        return version >= named and version[: len(named) - 1] == named[:-1]
    if how in ("==", "!="):
        depth = len(named) if parsed["any"] else len(version)
        return (_padded(version, depth)[:depth] == _padded(named, depth)[:depth]) is (how == "==")
    depth = max(len(version), len(named))
    return _COMPARISONS[how](_padded(version, depth), _padded(named, depth))


def _padded(version: Version, depth: int) -> Version:
    return version + (0,) * (depth - len(version))


def _text(version: Version) -> str:
    return ".".join(map(str, version))
