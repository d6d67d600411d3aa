"""Standard output and error that never block: a full log pipe costs lines, not the service.

A pipe that nobody reads takes 64 KiB; then write() waits for ever, in the master and in every worker.
"""

import contextlib
import io
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Iterable
from typing import Any

COPY_BYTES = 64 * 1024
_dropped = 0


def lines_dropped() -> int:
    """How many log lines of this process were discarded since stdout or stderr was not writable."""
    return _dropped


def _begin_at_zero() -> None:
    global _dropped
    _dropped = 0


os.register_at_fork(after_in_child=_begin_at_zero)  # the lines of the parent are counted there


class _File:
    """A descriptor that is written to without waiting, and stays as it is for whoever inherits it.

    Programs that an application starts expect a standard output that waits: with O_NONBLOCK on it they fail
    or lose what they write, as soon as its reader is slow.
    """

    def __init__(self, number: int) -> None:
        """Raises OSError where it is closed."""
        self._number = number
        self._identity = (0, 0)
        self._own: socket.socket | int = number
        self._follow()

    def write(self, data: bytes) -> int:
        """Writes without waiting. Returns how many bytes; raises OSError, also if none can be written now."""
        self._follow()
        if isinstance(self._own, socket.socket):
            return self._own.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._own, data)

    def _follow(self) -> None:
        """Opens it for us, at first and when another file has taken its place, as in a daemon."""
        status = os.fstat(self._number)
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity:
            self._close()
            self._identity, self._own = identity, self._open(status.st_mode)

    def _close(self) -> None:
        if isinstance(self._own, socket.socket):
            self._own.close()
        elif self._own != self._number:
            os.close(self._own)

    def _open(self, mode: int) -> "socket.socket | int":
        if stat.S_ISREG(mode):  # never makes anybody wait
            return self._number
        if stat.S_ISSOCK(mode):  # the journal's
            return socket.socket(fileno=os.dup(self._number))
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{self._number}", flags)
        except OSError:  # a pipe of another user: all that share it get the flag
            os.set_blocking(self._number, False)
            return self._number


class _LossyStream(io.RawIOBase):
    """Writes as much as the file takes at once, and counts the lines that it does not."""

    def __init__(self, file: int, copy: int | None) -> None:
        self._file, self._copy, self._copied = file, copy, 0
        self._output = _File(file)
        self._last_write_was_partial = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file

    def isatty(self) -> bool:
        return os.isatty(self._file)

    def write(self, data: object) -> int:
        global _dropped
        rest = bytes(data)  # type: ignore[call-overload]
        size = len(rest)
        self._tee(rest)
        if self._last_write_was_partial:
            rest = b"\n" + rest
        try:
            while rest:
                rest = rest[self._output.write(rest) :]
                self._last_write_was_partial = bool(rest)
        except OSError:  # full (EAGAIN), closed, or a disk without room: there is nowhere to report it
            _dropped += max(rest.count(b"\n"), 1)
        return int(size)

    def _tee(self, data: bytes) -> None:
        if self._copy is not None and self._copied < COPY_BYTES:
            self._copied += len(data)
            with contextlib.suppress(OSError):
                os.write(self._copy, data)


def make_nonblocking(copy_to: str = "") -> None:
    """Makes writes to standard output and error return at once.

    To be called before Gunicorn makes its log handlers. A regular file never blocks, but its disk can be
    full. `copy_to` names a file that gets a copy of the first lines: in a master that is to take over, for
    whoever asked for the handover.
    """
    copy = _open_copy(copy_to)
    for name, file in (("stdout", 1), ("stderr", 2)):
        with contextlib.suppress(OSError):  # closed: there is nothing to keep from blocking
            lossy = io.BufferedWriter(_LossyStream(file, copy), buffer_size=64 * 1024)
            setattr(
                sys,
                name,
                io.TextIOWrapper(lossy, encoding="utf-8", errors="backslashreplace", line_buffering=True),
            )


def lines_writer(stream: Any) -> Callable[[Iterable[str]], None] | None:
    """Returns what writes many lines at once, past the layers of `stream`, which are empty between lines.

    None where the stream is not ours.
    """
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _LossyStream):
        return None

    def write(lines: Iterable[str]) -> None:
        part = b""
        for line in lines:
            encoded = line.encode(errors="backslashreplace") + b"\n"
            if part and len(part) + len(encoded) > select.PIPE_BUF:
                raw.write(part)
                part = b""
            part += encoded
        raw.write(part)

    return write


def _open_copy(path: str) -> int | None:
    if path:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return None
