"""Coachman's packages on a path of their own, where they do not fit beside an application's pins.

The path is behind the application's: of a package that both have, the application's version is imported.
The packages of the server itself are the exception. They run the application, which hardly imports them:
where its version is too old for Coachman, Coachman's is on a second path before it.
"""

import re
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from coachman.releases import interpreter
from coachman.releases.changes import normalized, packages_in, site_packages
from coachman.releases.command import RefusedError
from coachman.releases.installer import Installer
from coachman.releases.layout import Release

SERVER = frozenset({"gunicorn", "httptools", "uvicorn", "uvloop"})
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:\[[^\]]*\])?\s*\(?(?P<specifier>[^;)]*)\)?\s*(?:;(?P<marker>.*))?"
)
_GUNICORN = "from gunicorn.app.wsgiapp import run\nrun(prog='gunicorn')\n"  # as its own script does


class Misfit(NamedTuple):
    """A package that both need, in a version of the application's that does not fit."""

    name: str
    version: str
    specifier: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} (Coachman: {self.specifier})"


def install(installer: Installer, wheel: Path) -> str:
    """Installs Coachman apart from the application, and says whose packages serve.

    Raises RefusedError when a library does not fit that both import: the application would get another
    version than its pin, or Coachman one that it does not work with.
    """
    release = installer.release
    behind, before = (release.folder / ".venv" / name for name in ("coachman", "server"))
    installer.install("--target", str(behind), str(wheel))
    pinned, ours = packages_in(site_packages(release)), packages_in(behind)
    misfits = list(find_misfits(behind, pinned))
    if libraries := [str(one) for one in misfits if one.name not in SERVER]:
        raise RefusedError(
            f"Coachman does not fit beside the application's {', '.join(libraries)}: allow a version that"
            " both can use, and make the lock again."
        )
    servers = [f"{one.name}=={ours[one.name]}" for one in misfits]
    if servers:
        installer.install("--target", str(before), "--no-deps", *servers)
    _put_on_path(release, behind, before if servers else None)
    serving = f"; what serves is {', '.join(servers).replace('==', ' ')}" if servers else ""
    return f"Coachman's packages are apart from the application's{serving}"


def find_misfits(behind: Path, pinned: Mapping[str, str]) -> Iterator[Misfit]:
    """Yields each package of the application's that does not fit what is imported from `behind`.

    That is what the application does not have, and the server's packages that do not fit.
    """
    imported = {name for name in packages_in(behind) if name not in pinned}
    found: dict[str, Misfit] = {}
    while imported:
        name = imported.pop()
        for needed, specifier in _requirements(behind, name):
            version = pinned.get(needed)
            if version is None or needed in found or _fits(version, specifier):
                continue
            found[needed] = Misfit(needed, version, specifier)
            if needed in SERVER:
                imported.add(needed)
    yield from sorted(found.values())


def _fits(version: str, specifier: str) -> bool:
    numbers = re.match(r"\d+(\.\d+)*", version)
    return numbers is not None and interpreter.satisfies(tuple(map(int, numbers[0].split("."))), specifier)


def _requirements(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yields what a package in `folder` needs whatever is chosen: extras and other systems left out."""
    for path in folder.glob("*.dist-info/METADATA"):
        if normalized(path.parent.name.removesuffix(".dist-info").rpartition("-")[0]) != name:
            continue
        for line in HeaderParser().parsestr(path.read_text(encoding="utf-8")).get_all("Requires-Dist", []):
            found = _REQUIREMENT.fullmatch(line.strip())
            if found and "extra" not in (found["marker"] or ""):
                yield normalized(found["name"]), found["specifier"].strip()


def _put_on_path(release: Release, behind: Path, before: Path | None) -> None:
    """Python reads .pth files at its start: a path is appended, a line of code is run."""
    lines = [str(behind)]
    if before is not None:
        lines.append(f"import sys; sys.path.insert(0, {str(before)!r})")
    (site_packages(release) / "coachman.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    script = release.folder / ".venv" / "bin" / "gunicorn"
    if not script.exists():
        script.write_text(f"#!{release.python}\n{_GUNICORN}", encoding="utf-8")
        script.chmod(0o755)
