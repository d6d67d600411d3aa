"""Where a release comes from: a folder, a tarball, wheels, or a repository of git at some commit."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from coachman.releases import checkout
from coachman.releases.command import RefusedError

_SCHEMES = ("https", "ssh", "file")  # those in which nobody on the way can change what becomes root's
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//)\S+")  # git@example.com:shop.git


class Origin(NamedTuple):
    """What the operator has named."""

    place: str  # an absolute path, or a URL
    is_url: bool = False
    ref: str = ""  # a tag, a branch or a commit
    subdirectory: str = ""  # of a repository
    package: str | None = None  # of a workspace

    @classmethod
    def of(cls, text: str, *, ref: str = "", package: str | None = None) -> "Origin":
        """Reads PATH, or a URL as pip writes it: [git+]https://HOST/REPOSITORY[@REF][#subdirectory=FOLDER].

        Raises RefusedError for a URL that cannot be one.
        """
        address, _, fragment = text.removeprefix("git+").partition("#")
        if _SCP.fullmatch(address):
            return cls(address, True, ref, _subdirectory(fragment), package)
        if "://" not in address:
            return cls(str(Path(text).expanduser().resolve()), False, ref, "", package)
        scheme = urlsplit(address).scheme
        if scheme not in _SCHEMES:
            raise RefusedError(f"{without_password(text)} is refused: it must begin with https:// or ssh://.")
        # An @ behind the host's name: one before it parts the user from the host.
        parts = urlsplit(address)
        path, _, named = parts.path.partition("@")
        address = urlunsplit(parts._replace(path=path))
        return cls(address, True, ref or named, _subdirectory(fragment), package)

    def __str__(self) -> str:
        inner = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        package = f", package {self.package}" if self.package else ""
        return f"{without_password(self.place)}{f'@{self.ref}' if self.ref else ''}{inner}{package}"


class Local(NamedTuple):
    """The same on this machine."""

    path: Path
    commit: str = ""  # such as "1a2b3c4d5e6f", with "+changes" where files differ from it


@contextlib.contextmanager
def local(origin: Origin, scratch: Path) -> Iterator[Local]:
    """Fetches what is not on this machine into a folder in `scratch`, which is removed at the end."""
    if not origin.is_url and not origin.ref:
        path = Path(origin.place)
        yield Local(path, checkout.commit(path) if path.is_dir() else "")
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".fetched.") as name:
        folder = Path(name, "checkout")
        folder.mkdir()
        if origin.is_url:
            top, commit = folder, checkout.fetch(origin.place, origin.ref, folder)
        else:
            top, commit = checkout.unpack(Path(origin.place), origin.ref, folder)
        path = (top / origin.subdirectory).resolve()
        if not path.is_relative_to(folder) or not path.is_dir():
            raise RefusedError(f"{origin.subdirectory} is no folder of {without_password(origin.place)}.")
        yield Local(path, commit)


def without_password(url: str) -> str:
    """Leaves user and password out of a URL, for who reads the log."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _subdirectory(fragment: str) -> str:
    found = re.fullmatch(r"subdirectory=(\S+)", fragment)
    if fragment and not found:
        raise RefusedError(f"#{fragment} is refused: it must be #subdirectory=FOLDER.")
    return found[1] if found else ""
