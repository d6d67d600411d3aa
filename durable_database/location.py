"""Where a database is: its URL, with and without the password, and the file system of its file."""

import re
import sqlite3
import time
from pathlib import Path

from databases import DatabaseURL

MOUNTS = Path("/proc/self/mountinfo")
# Their locks and shared memory do not hold between hosts, some not even on one.
NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|gfs2?|lustre|beegfs|ocfs2|fuse\.(sshfs|s3fs|rclone|glusterfs|ceph.*)"
)

# How old what reads know of the file's place may be.
LOOK_SECONDS = 1.0


def is_postgresql(url: str) -> bool:
    return url.startswith("postgresql://")


def sqlite_file(url: str) -> Path:
    """Returns the file that a sqlite:/// URL names."""
    return Path(DatabaseURL(url).database)


def name_of(url: str) -> str:
    """Returns the database's name for messages."""
    return printable(url) if is_postgresql(url) else DatabaseURL(url).database


def printable(url: str) -> str:
    """Returns `url` without its password."""
    url = re.sub(r"(//[^/@:]*:).*@", r"\1***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", url)


def require_file_url(url: DatabaseURL) -> str:
    """The path that a SQLite URL names; ValueError, in words, for what only one connection could have."""
    if url.options:
        raise ValueError(
            f"{url} has a query ({', '.join(url.options)}), which SQLite's file has not; "
            "give options as keywords"
        )
    path = url.database
    if not path or path.startswith((":memory:", "file:")):
        raise ValueError(
            f"{url} names no file of its own: reads and writes have a connection each, which a database in "
            "memory would not join; use a file, in tests one in a temporary folder"
        )
    return path


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that `path` is on; None on a local one, or where none can tell."""
    try:
        mounts = dict(_mount(line) for line in MOUNTS.read_text().splitlines())
    except OSError:  # no Linux
        return None
    resolved = path.resolve()
    kind = next((mounts[str(p)] for p in (resolved, *resolved.parents) if str(p) in mounts), "")
    return kind if NETWORK.fullmatch(kind) else None


def _mount(line: str) -> tuple[str, str]:
    """Returns the mount point and the type: see proc_pid_mountinfo(5)."""
    before, _, after = line.partition(" - ")
    place = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
    return place, after.split(" ")[0]


class FileIdentity:
    """In WAL mode SQLite itself does not look: it goes on in a file that nobody finds again."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._identity = self._stat()
        self.look_at = time.perf_counter() + LOOK_SECONDS

    def check(self) -> None:
        """Called before each write: one to a removed or replaced file would be acknowledged and lost."""
        if self._stat() != self._identity:
            error = sqlite3.OperationalError(
                f"{self._path} was removed or replaced while in use; put it back, or restart the service"
            )
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
            raise error

    def look(self) -> None:
        """Called before each read; checks once a second."""
        if (now := time.perf_counter()) > self.look_at:
            self.check()
            self.look_at = now + LOOK_SECONDS

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
