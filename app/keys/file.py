"""The file of keys: in each line a name, a scope, the key's hash and the day it was made.

Blank lines and comments (#) are for people; the day may be missing. A change adds or removes the lines of one
key and leaves every other byte as it is.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
DIGEST = re.compile(r"[0-9a-f]{64}")


class KeysError(ValueError):
    """Why the file of keys cannot be used, in one sentence."""


class Key(NamedTuple):
    name: str
    scope: str  # read, or write, which includes it
    digest: str  # SHA-256, hex: a key has 256 random bits, which need no slow hash
    made: str = ""


def load(file: Path) -> tuple[Key, ...]:
    """The keys in `file`; none when there is no such file. Raises KeysError."""
    return tuple(key for line in _read(file) if (key := line.key))


def add(file: Path, name: str, scope: str) -> str:
    """Makes a key, appends its hash and returns it: it is kept nowhere. Raises KeysError."""
    if not NAME.fullmatch(name):
        raise KeysError(f"{name!r} is refused: a name has up to 40 of a-z, 0-9, '.', '_' and '-'.")
    token = f"coachman_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(token.encode()).hexdigest()
    with _changing(file) as lines:
        if any(line.key and line.key.name == name for line in lines):
            raise KeysError(f"There is a key {name} already; revoke it first, or take another name.")
        if lines and not lines[-1].text.endswith("\n"):
            lines[-1] = lines[-1]._replace(text=f"{lines[-1].text}\n")
        key = Key(name, scope, digest, datetime.now(UTC).date().isoformat())
        lines.append(_Line(f"{' '.join(key)}\n", key))
    return token


def revoke(file: Path, name: str) -> None:
    """Removes the key. Raises KeysError."""
    with _changing(file) as lines:
        others = [line for line in lines if not line.key or line.key.name != name]
        if len(others) == len(lines):
            raise KeysError(f"There is no key {name} in {file}; `coachman keys list` shows those there are.")
        lines[:] = others


class _Line(NamedTuple):
    text: str  # as it stands in the file, its end included
    key: Key | None  # None for a comment and a blank line


def _read(file: Path) -> list[_Line]:
    try:
        text = file.read_bytes().decode()
    except FileNotFoundError:
        return []
    except PermissionError:
        raise KeysError(f"{file} cannot be read: run this as root or as the service's user.") from None
    except OSError as error:
        raise KeysError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeysError(
            f"{file} is no text in UTF-8; restore it, or move it away and make new keys."
        ) from None
    return [_Line(line, _parse(file, number, line)) for number, line in enumerate(_split(text), 1)]


def _read_to_change(file: Path) -> list[_Line]:
    try:
        return _read(file)
    except KeysError as error:
        raise KeysError(f"{error} Nothing was changed.") from None


def _split(text: str) -> list[str]:
    """At line feeds alone: str.splitlines() also takes characters that stand in people's comments."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _parse(file: Path, number: int, line: str) -> Key | None:
    fields = line.partition("#")[0].split()
    if not fields:
        return None
    if len(fields) < 3 or fields[1] not in ("read", "write") or not DIGEST.fullmatch(fields[2].lower()):
        raise KeysError(
            f"{file}, line {number} is no key: it must be NAME read|write SHA256 [DAY], or a comment after #;"
            " correct the line or remove it."
        )
    name, scope, digest, *rest = fields
    return Key(name, scope, digest.lower(), *rest[:1])


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[list[_Line]]:
    """Has one process change the file at a time. The new file is on the disk before it replaces the old."""
    import fcntl  # not on Windows, where keys are only read

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeysError(f"{file} cannot be changed: {error.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        lines = _read_to_change(file)
        yield lines
        _replace(file, "".join(line.text for line in lines), folder)
    except PermissionError:
        raise KeysError(f"{file} cannot be changed: run this as root.") from None
    except OSError as error:
        raise KeysError(f"{file} cannot be changed: {error.strerror}.") from None
    finally:
        os.close(folder)


def _replace(file: Path, text: str, folder: int) -> None:
    draft = file.with_name(f".{file.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as output:
        with contextlib.suppress(PermissionError):  # not root: it is ours then
            os.fchown(output.fileno(), -1, os.fstat(folder).st_gid)  # the service reads by its group
        os.fchmod(output.fileno(), 0o640)
        output.write(text.encode())
        output.flush()
        os.fsync(output.fileno())
    draft.replace(file)
    os.fsync(folder)
