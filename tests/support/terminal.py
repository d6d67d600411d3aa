"""A command at a real terminal of a given size, whose keys a test presses."""

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.deadlines import PATIENCE_SECONDS


class Terminal:
    """Made by `at_terminal`."""

    def __init__(self, screen: int, terminal: int, process: "subprocess.Popen[bytes]") -> None:
        self._screen, self._terminal, self.process = screen, terminal, process
        self.shown = ""  # all that was written, with its escape sequences

    def press(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def wait_for(self, pattern: str, *, seconds: float = PATIENCE_SECONDS) -> str:
        """Until what was written since the last call has the pattern. Returns the match."""
        begin, deadline = getattr(self, "_seen", 0), time.monotonic() + seconds
        while not (found := re.search(pattern, plain(self.shown)[begin:])):
            assert time.monotonic() < deadline, f"no {pattern!r} in\n{plain(self.shown)[begin:]}"
            self._read(0.1)
        self._seen = begin + found.end()
        return found[0]

    def wait_end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end\n{plain(self.shown)}"
            self._read(0.05)
        while self._read(0.05):
            pass
        return self.process.wait(PATIENCE_SECONDS)

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self._terminal)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._screen], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open
            part = os.read(self._screen, 65536)
            self.shown += part.decode(errors="replace")
            return bool(part)
        return False


@contextlib.contextmanager
def at_terminal(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], columns: int = 80, lines: int = 24
) -> Iterator[Terminal]:
    """Runs `command` at a terminal of its own, which is the one that Ctrl-C reaches it by."""
    screen, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {key: value for key, value in environment.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=kept | {"TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        yield Terminal(screen, terminal, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(screen)
        os.close(terminal)


def plain(text: str) -> str:
    """Without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
