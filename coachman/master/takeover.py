"""The new master's side of a handover."""

import contextlib
import os
from pathlib import Path

from coachman.state import runtime_dir
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase


class Takeover:
    """Whether this master is the active one, or still waits to be accepted by the old master."""

    def __init__(self, folder: Path, parent: int) -> None:
        """`parent` is the pid of the master that hands over to this one, 0 at the start of a service."""
        self._parent = parent
        self._predecessor: Scoreboard | None = None
        if parent:
            with contextlib.suppress(OSError, runtime_dir.OtherLayoutError):
                self._predecessor = runtime_dir.scoreboard_of(folder, parent)
        if parent and self._predecessor is None and parent == os.getppid():
            # Not knowing whether it is accepted it would speak for the service beside the other.
            raise SystemExit(
                f"COACHMAN_RUNTIME_DIR={folder}: the scoreboard of master {parent} is gone, or laid out by"
                " another version of coachman. Restart the service instead."
            )
        self.generation = self._predecessor.service.generation + 1 if self._predecessor else 1

    def is_accepted(self) -> bool:
        if self._predecessor is not None:
            service = self._predecessor.service
            is_chosen = service.handover == Phase.ACCEPTED and service.successor == os.getpid()
            if is_chosen or os.getppid() != self._parent:
                self._predecessor = None
        return self._predecessor is None
