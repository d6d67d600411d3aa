"""The new master's side of a handover."""

import contextlib
import os
from pathlib import Path

from coachman.state import runtime_dir
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase


class Succession:
    """Runs in a master: whether it speaks for the service, or still waits to be accepted."""

    def __init__(self, folder: Path, parent: int) -> None:
        self._parent = parent
        self._board: Scoreboard | None = None
        if parent:
            with contextlib.suppress(OSError, runtime_dir.OtherLayoutError):
                self._board = runtime_dir.scoreboard_of(folder, parent)
        if self._board is None and parent == os.getppid():
            # Not knowing whether it is accepted it would speak for the service beside the other.
            raise SystemExit(
                f"COACHMAN_RUNTIME_DIR={folder}: the scoreboard of master {parent} is gone, or laid out by"
                " another version of coachman. Restart the service instead."
            )
        self.generation = self._board.service.generation + 1 if self._board else 1

    def is_accepted(self) -> bool:
        if self._board is not None:
            service = self._board.service
            is_chosen = service.handover == Phase.ACCEPTED and service.successor == os.getpid()
            if is_chosen or os.getppid() != self._parent:
                self._board = None
        return self._board is None
