"""The file of keys that an application reads: a name, a scope, a hash and a day in each line."""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

INSTALLED = Path("/etc/coachman/keys")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class KeysError(ValueError):
    """What is wrong, in one sentence."""


class Line(NamedTuple):
    name: str
    scope: str
    digest: str
    made: str


def file_of_service() -> Path:
    """What is set, else that of the installed unit where there is one, else that of this folder."""
    if told := os.environ.get("COACHMAN_KEYS_FILE"):
        return Path(told)
    return INSTALLED if INSTALLED.parent.is_dir() else Path("var/keys")


def read(file: Path) -> list[Line]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    except PermissionError:
        raise KeysError(f"{file} cannot be read: run this as root.") from None
    return [Line(*line.split()) for line in lines if len(line.split()) == 4 and not line.startswith("#")]


def add(file: Path, name: str, scope: str) -> str:
    """The key, which is kept nowhere."""
    if not NAME.fullmatch(name):
        raise KeysError(f"{name!r} is refused: a name has up to 40 of a-z, 0-9, '.', '_' and '-'.")
    key = f"coachman_{secrets.token_urlsafe(32)}"
    with _changing(file) as lines:
        if any(line.name == name for line in lines):
            raise KeysError(f"There is a key {name} already; revoke it first, or take another name.")
        digest = hashlib.sha256(key.encode()).hexdigest()
        lines.append(Line(name, scope, digest, datetime.now(UTC).date().isoformat()))
    return key


def revoke(file: Path, name: str) -> None:
    with _changing(file) as lines:
        others = [line for line in lines if line.name != name]
        if len(others) == len(lines):
            raise KeysError(f"There is no key {name} in {file}; `coachman keys list` shows those there are.")
        lines[:] = others


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[list[Line]]:
    """One at a time; the new file is whole and on the disk before it takes the place of the old one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeysError(f"{file} cannot be changed: {error.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        lines = read(file)
        yield lines
        _replace(file, "".join(f"{' '.join(line)}\n" for line in lines), folder)
    except PermissionError:
        raise KeysError(f"{file} cannot be changed: run this as root.") from None
    finally:
        os.close(folder)


def _replace(file: Path, text: str, folder: int) -> None:
    draft = file.with_name(f".{file.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "w") as output:
        with contextlib.suppress(PermissionError):  # not root: it is ours then
            os.fchown(output.fileno(), -1, os.fstat(folder).st_gid)  # the service reads by its group
        os.fchmod(output.fileno(), 0o640)
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)
    os.fsync(folder)
