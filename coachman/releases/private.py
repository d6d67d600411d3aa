"""What of a project stays where it is: secrets, databases, caches, and what .gitignore names."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from coachman.releases.command import RefusedError
from coachman.releases.instance import Instance

ENVIRONMENT = ".venv"  # of the release; its packages are the index's, and public
# Caches, and what belongs to the place where the project was: nobody misses it.
_CACHES = (
    ".git",
    ".venv",
    "venv",
    "__pycache__",
    ".*_cache",
    ".coverage*",
    ".hypothesis",
    "node_modules",
)
_STATE_FOLDER = "var"  # of `coachman run`, at the top alone: a package may be named so
_SECRETS = (
    *(".env", ".env.*", ".envrc", ".netrc", ".pgpass", ".pypirc", ".git-credentials"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore"),
    *(".aws", ".ssh", ".gnupg"),
)
_EXAMPLES = re.compile(r"\.(example|sample|template|dist|defaults?)$")  # of an .env: made to be shared
_DATABASES = tuple(
    f"*.{suffix}{part}"
    for suffix in ("db", "sqlite", "sqlite3", "duckdb")
    for part in ("", "-wal", "-shm", "-journal")
)
_SQLITE = b"SQLite format 3\0"
_PEM, _PRIVATE_KEY = b"-----BEGIN ", b"PRIVATE KEY-----"  # a certificate alone is public
_LOOKED_AT_BYTES = 64 * 1024
_SHOWN = 8
OTHERS_READ = 0o004


class LeftBehind:
    """Decides what is left behind, and remembers it by its kind."""

    def __init__(self, project: Path, ignored: Iterable[str] | None, include: Sequence[str] = ()) -> None:
        """`ignored` is what git ignores in the project, None where nobody knows.

        `include` are patterns of what is released all the same.
        """
        self._project, self._ignored, self._include = project, frozenset(ignored or ()), include
        self._is_unread = ignored is None
        self._found: dict[str, list[str]] = {}

    @property
    def databases(self) -> list[str]:
        return self._found.get("databases", [])

    def __call__(self, folder: str, names: list[str]) -> set[str]:
        """Returns those of `names` in `folder` that are left behind, as shutil.copytree asks for."""
        place = Path(folder)
        return {name for name in names if self._leaves(place / name)}

    def sentence(self) -> str:
        """Names each of them, by kind."""
        parts = [f"{_listed(sorted(paths))} ({kind})" for kind, paths in self._found.items()]
        said = f"Left behind: {'; '.join(parts)}" if parts else "Nothing is left behind"
        unread = "\nIts .gitignore is not read: there is no git on this machine (apt-get install git)"
        return f"{said}{unread if self._is_unread else ''}"

    def _leaves(self, path: Path) -> bool:
        relative = path.relative_to(self._project).as_posix()
        kind = self._kind(path, relative)
        if not kind or _matches(relative, self._include):
            return False
        if path.is_dir() and any(pattern.startswith(f"{relative}/") for pattern in self._include):
            return False  # what is in it is looked at on its own
        found = self._found.setdefault(kind, [])
        shown = path.name if kind == "caches" else relative
        if shown not in found:
            found.append(shown)
        return True

    def _kind(self, path: Path, relative: str) -> str:
        is_environment = (path / "pyvenv.cfg").exists()
        if _is_named(path.name, _CACHES) or relative == _STATE_FOLDER or is_environment:
            return "caches"
        if is_secret(path):
            return "secrets"
        if _is_database(path):
            return "databases"
        return "in .gitignore" if _matches(relative, self._ignored) else ""


def is_secret(path: Path) -> bool:
    """Says whether a file or folder holds a password or a private key, by its name or what is in it."""
    if _EXAMPLES.search(path.name):
        return False
    return _is_named(path.name, _SECRETS) or _holds_private_key(path)


def require_no_readable_secret(folder: Path) -> None:
    """Raises RefusedError when every user of this machine could read a secret in the release."""
    for path in files_of(folder):
        if path.is_file() and path.stat().st_mode & OTHERS_READ and is_secret(path):
            name = path.relative_to(folder)
            raise RefusedError(
                f"{name} holds a secret that every user of this machine could read: put it into"
                f" the credentials of the service, or run `chmod o-r {name}` where the release comes from."
            )


def files_of(folder: Path) -> Iterable[Path]:
    """Yields everything in a release but symbolic links and its packages; the release's own folder first."""
    yield folder
    for place, folders, names in os.walk(folder):
        if place == str(folder) and ENVIRONMENT in folders:
            folders.remove(ENVIRONMENT)
        for name in (*folders, *names):
            path = Path(place, name)
            if not path.is_symlink():
                yield path


def about_databases(databases: Sequence[str], project: Path | None, instance: Instance) -> str:
    """Says what to do with a project's databases, one of which may have been in use there.

    `project` is the folder they are in; None when they came out of a tarball or a repository.
    """
    target = instance.state / PurePosixPath(databases[0]).name
    said = (
        f"{_listed(databases)} stays behind: nothing can be written in a release, and the next one would"
        f" begin without it.\nThe service's data belongs in {instance.state}."
    )
    if project is not None:
        copied = shlex.join([f"{project}/{databases[0]}", str(target)])
        said += f" To begin with this file:\n    install -o {instance.id} -g {instance.id} -m 640 {copied}"
    return said + (
        f"\nName it in {instance.settings} as the application expects it, such as"
        f" DATABASE_URL=sqlite:///{target}"
    )


def _holds_private_key(path: Path) -> bool:
    head = _head(path)
    is_marked = head.startswith(_PEM) or (path.suffix == ".json" and b'"private_key"' in head)
    return is_marked and _PRIVATE_KEY in head


def _is_database(path: Path) -> bool:
    return not path.is_dir() and (_is_named(path.name, _DATABASES) or _head(path).startswith(_SQLITE))


def _head(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_LOOKED_AT_BYTES)
    except OSError:  # whoever copies it says why it cannot be read
        return b""


def _is_named(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _matches(relative: str, patterns: Iterable[str]) -> bool:
    """Says whether a pattern is about this path, or about a folder that it is in."""
    places = [place.as_posix() for place in (PurePosixPath(relative), *PurePosixPath(relative).parents)][:-1]
    if isinstance(patterns, frozenset):
        return not patterns.isdisjoint(places)
    return any(fnmatchcase(place, pattern.rstrip("/")) for place in places for pattern in patterns)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return f"{', '.join(names[:_SHOWN])}{f' and {rest} more' if rest > 0 else ''}"
