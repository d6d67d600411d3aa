"""The packages of one project in each form that a release reads, as each tool would lock them."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import NamedTuple


class Package(NamedTuple):
    """A version of a package, and the digests of its wheels by their names."""

    name: str
    version: str
    wheels: dict[str, str]


def packages_of(uv_lock: str, wheels: Path) -> list[Package]:
    """What uv has locked, without the project itself. The wheels are those in the folder."""
    found: dict[str, list[Path]] = {}
    for path in wheels.glob("*.whl"):
        found.setdefault(_key(*path.name.split("-")[:2]), []).append(path)
    return [
        Package(
            one["name"],
            one["version"],
            {path.name: _digest(path) for path in found[_key(one["name"], one["version"])]},
        )
        for one in tomllib.loads(uv_lock)["package"]
        if "virtual" not in one["source"]
    ]


def pylock(packages: list[Package]) -> str:
    """The standard's lock, of an index that nobody asks when there is a folder of wheels."""
    lines = ['lock-version = "1.0"', 'created-by = "a test"']
    for one in packages:
        wheels = ", ".join(
            f'{{ url = "https://example.com/{name}", hashes = {{ sha256 = "{digest}" }} }}'
            for name, digest in one.wheels.items()
        )
        lines += [
            "[[packages]]",
            f'name = "{one.name}"',
            f'version = "{one.version}"',
            f"wheels = [{wheels}]",
        ]
    return "\n".join(lines) + "\n"


def poetry_lock(packages: list[Package]) -> str:
    lines = []
    for one in packages:
        files = ", ".join(
            f'{{file = "{name}", hash = "sha256:{digest}"}}' for name, digest in one.wheels.items()
        )
        lines += ["[[package]]", f'name = "{one.name}"', f'version = "{one.version}"', "optional = false"]
        lines += ['groups = ["main"]', f"files = [{files}]"]
    return "\n".join([*lines, "[metadata]", 'lock-version = "2.1"']) + "\n"


def _key(name: str, version: str) -> str:
    return f"{re.sub(r'[-_.]+', '-', name).lower()} {version}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
