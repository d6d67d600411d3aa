"""Reads pylock.toml and poetry.lock as what pip and uv both install: requirements with their hashes."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coachman.releases.command import RefusedError

Package = Mapping[str, Any]

_PUBLIC_INDEX = "https://pypi.org/simple"
_POETRY_2 = (2, 1)  # the version of the lock, in which a package names its groups
# In a lock's markers, which pip does not know in requirements.
_IN_SELECTION = re.compile(
    r"""(['"])(?P<name>[\w.-]+)\1\s+(?P<not>not\s+)?in\s+(?P<of>dependency_groups|extras)"""
)
_ALWAYS, _NEVER = "python_version >= '0'", "python_version < '0'"


def from_pylock(lock: Mapping[str, Any]) -> list[str]:
    """Returns the requirements that stand for a pylock.toml, with its default groups and no extras."""
    groups = lock.get("default-groups", [])
    return _lines(lock.get("packages", []), lambda package: _of_pylock(package, groups), _index_of_pylock)


def from_poetry(lock: Mapping[str, Any]) -> list[str]:
    """Returns the same for a poetry.lock, of its main group. Raises RefusedError for one of Poetry 1."""
    version = str(lock.get("metadata", {}).get("lock-version", "0"))
    if tuple(int(part) for part in version.split(".") if part.isdecimal()) < _POETRY_2:
        raise RefusedError(
            "poetry.lock is of Poetry 1, which does not say which package is for development: run `poetry"
            " lock` with Poetry 2, or `poetry export --output requirements.txt`."
        )
    wanted = [one for one in lock.get("package", []) if _is_main(one)]
    return _lines(wanted, _of_poetry, _index_of_poetry)


def _lines(
    packages: Iterable[Package], line: Callable[[Package], str], index: Callable[[Package], str | None]
) -> list[str]:
    packages = list(packages)
    others = sorted({url for one in packages if (url := index(one)) and url.rstrip("/") != _PUBLIC_INDEX})
    return [*(f"--extra-index-url {url}" for url in others), *map(line, packages)]


def _of_pylock(package: Package, groups: list[str]) -> str:
    name, marker = package["name"], _without_selection(package.get("marker", ""), groups)
    if vcs := package.get("vcs"):
        place = vcs.get("url") or vcs.get("path")
        return _located(name, f"{vcs['type']}+{place}@{vcs['commit-id']}", vcs.get("subdirectory"), marker)
    if archive := package.get("archive"):
        url = _located(name, archive.get("url") or archive["path"], archive.get("subdirectory"), marker)
        return _hashed(url, [archive])
    if directory := package.get("directory"):
        return f"-e ./{directory['path']}"
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return _hashed(_pinned(name, package["version"], marker), files)


def _of_poetry(package: Package) -> str:
    name, source, markers = package["name"], package.get("source", {}), package.get("markers", "")
    marker = markers.get("main", "") if isinstance(markers, dict) else markers
    match source.get("type"):
        case "git":
            place = f"git+{source['url']}@{source['resolved_reference']}"
            return _located(name, place, source.get("subdirectory"), marker)
        case "directory":
            return f"-e ./{source['url']}"
        case "url":
            return _hashed(
                _located(name, source["url"], source.get("subdirectory"), marker), package["files"]
            )
    return _hashed(_pinned(name, package["version"], marker), package["files"])


def _is_main(package: Package) -> bool:
    return "main" in package.get("groups", []) and not package.get("optional")


def _index_of_pylock(package: Package) -> str | None:
    return package.get("index")


def _index_of_poetry(package: Package) -> str | None:
    source = package.get("source", {})
    return source.get("url") if source.get("type") == "legacy" else None


def _pinned(name: str, version: str, marker: str) -> str:
    return f"{name}=={version}{f' ; {marker}' if marker else ''}"


def _located(name: str, place: str, subdirectory: str | None, marker: str) -> str:
    inner = f"#subdirectory={subdirectory}" if subdirectory else ""
    return f"{name} @ {place}{inner}{f' ; {marker}' if marker else ''}"


def _hashed(requirement: str, files: Iterable[Mapping[str, Any]]) -> str:
    """Adds the hash of each file: pylock.toml has several to choose from, poetry.lock one."""
    found = [f"{kind}:{value}" for file in files for kind, value in file.get("hashes", {}).items()] + [
        file["hash"] for file in files if "hash" in file
    ]
    return " ".join([requirement, *(f"--hash={one}" for one in sorted(set(found)))])


def _without_selection(marker: str, groups: list[str]) -> str:
    def chosen(found: re.Match[str]) -> str:
        is_in = found["of"] == "dependency_groups" and found["name"] in groups
        return _NEVER if is_in == bool(found["not"]) else _ALWAYS

    return _IN_SELECTION.sub(chosen, marker)
