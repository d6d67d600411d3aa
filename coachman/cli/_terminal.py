"""A terminal whose keys are read one by one. It is left as it was found, however the command ends."""

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_LONGEST_KEY = 32  # bytes: of an arrow or a function key, which begin with Esc


class Keys:
    """Standard input as keys. Made by `keys()`."""

    def __init__(self, file: int) -> None:
        self._file = file

    def wait(self, seconds: float) -> list[str]:
        """The keys that were pressed, after the first of them or when the time is over.

        Ends the command when the terminal is gone.
        """
        if not select.select([self._file], [], [], seconds)[0]:
            return []
        pressed = os.read(self._file, _LONGEST_KEY)
        if not pressed:
            raise SystemExit(0)
        if pressed.startswith(b"\x1b") and len(pressed) > 1:  # of an arrow, which stands for nothing here
            return []
        return list(pressed.decode(errors="ignore"))


@contextlib.contextmanager
def keys() -> Iterator[Keys]:
    """Reads keys without Enter and without showing them. Ctrl-C goes on to be KeyboardInterrupt.

    Ctrl-Z would leave the terminal to the shell as it is, and does nothing. SIGTERM and SIGHUP end the
    command with the usual exit code, by way of everybody's `finally`.
    """
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    handlers = {signum: signal.signal(signum, _end) for signum in _ENDING}
    try:
        tty.setcbreak(file)
        mode = termios.tcgetattr(file)
        mode[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(file, termios.TCSANOW, mode)
        yield Keys(file)
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(file, termios.TCSADRAIN, before)
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _end(signum: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signum)
