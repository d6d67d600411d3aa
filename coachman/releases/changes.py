"""What differs between two releases, or between a service that runs and one that would start now."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from coachman.releases.layout import Release
from coachman.settings import ServerSettings
from coachman.system import project_file
from coachman.system.environment_names import RUNTIME_DIR

_SHOWN = 12
# Settings of the server are no secrets; of all other variables the name alone is shown.
_SHOWABLE = frozenset(f"COACHMAN_{name.upper()}" for name in ServerSettings.model_fields)
_OF_A_HANDOVER = frozenset({RUNTIME_DIR})  # which the old master sets for the new one
_VARIABLE = re.compile(r"^\s*([A-Za-z_]\w*)=", re.MULTILINE)


def of_packages(before: Release | None, after: Release) -> str:
    """Says which packages are new, gone or of another version."""
    new = packages(after)
    if before is None:
        return f"Packages: {len(new)}"
    old = packages(before)
    changed = [f"{name} {old[name]} → {new[name]}" for name in old if new.get(name, old[name]) != old[name]]
    added = [f"{name} {version} is new" for name, version in new.items() if name not in old]
    gone = [f"{name} is gone" for name in old if name not in new]
    return f"Packages: {_listed([*changed, *added, *gone]) or f'the same {len(new)}'}"


def packages(release: Release) -> dict[str, str]:
    """Returns the version of each package in a release's virtual environment, by its name."""
    return packages_in(site_packages(release))


def site_packages(release: Release) -> Path:
    """Returns the folder in a release's virtual environment that packages are installed into."""
    return next(iter(release.folder.glob(".venv/lib/python*/site-packages")), release.folder / "nowhere")


def packages_in(folder: Path) -> dict[str, str]:
    """Returns the version of each package in a folder of packages, by its name."""
    parts = [
        path.name.removesuffix(".dist-info").rpartition("-") for path in sorted(folder.glob("*.dist-info"))
    ]
    return {normalized(name): version for name, _, version in parts}


def normalized(name: str) -> str:
    """Returns a package's name as all tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def of_settings(
    running: Mapping[str, str], following: Mapping[str, str], names: Iterable[str], files: Iterable[str] = ()
) -> str:
    """Says which variables a new generation is started with otherwise than the present one was.

    Of those among `names`, and of the server's settings. `files` are changes of files, which are added.
    """
    looked_at = {*names, *(_SHOWABLE & running.keys())} - _OF_A_HANDOVER
    changed = [
        _changed(name, running.get(name), following.get(name))
        for name in sorted(looked_at)
        if running.get(name) != following.get(name)
    ]
    return f"Settings: {_listed([*changed, *files]) or 'the same'}"


def of_project_file(before: Release, after: Release) -> list[str]:
    """Returns what the two releases' pyproject.toml say differently under [tool.coachman]."""
    try:
        old, new = project_file.table(before.folder), project_file.table(after.folder)
    except ValueError:  # which the check has said of the one, and nobody needs to know of the other
        return []
    return [
        f"{_changed(name, old.get(name), new.get(name), shown=True)} ({project_file.NAME})"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def setting(release: Release, variables: Mapping[str, str], name: str) -> str:
    """Returns a setting of the server: from the variables, else from pyproject.toml, else nothing."""
    try:
        of_project = str(project_file.table(release.folder).get(name, ""))
    except ValueError:
        of_project = ""
    return variables.get(f"COACHMAN_{name.upper()}") or of_project


def names_in(environment_file: Path) -> set[str]:
    """Returns the names that a file of NAME=VALUE lines sets; none where there is no such file."""
    try:
        return set(_VARIABLE.findall(environment_file.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return set()


def _changed(name: str, old: object, new: object, *, shown: bool = False) -> str:
    if old is None or new is None:
        return f"{name} is {'new' if old is None else 'gone'}"
    return f"{name} {old} → {new}" if shown or name in _SHOWABLE else f"{name} has another value"


def _listed(changes: list[str]) -> str:
    rest = len(changes) - _SHOWN
    return f"{', '.join(changes[:_SHOWN])}{f' and {rest} more' if rest > 0 else ''}"
