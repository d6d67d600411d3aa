"""Detects in the master that the runtime directory was removed, and makes it again."""

import logging
from pathlib import Path

from coachman.state import runtime_dir
from coachman.state.events import Events


class RuntimeDirWatch:
    def __init__(self, folder: Path, pid: int, events: Events) -> None:
        self._folder, self._pid, self._events = folder, pid, events
        # Else there has been no place for it from the beginning.
        self._is_watching = runtime_dir.is_published(folder, pid)

    def check(self) -> None:
        """Has to be called in each iteration of the loop. What cannot be repaired is logged once."""
        if not self._is_watching or runtime_dir.is_published(self._folder, self._pid):
            return
        try:
            runtime_dir.republish(self._folder, self._pid)
        except OSError as error:
            self._is_watching = False
            message = (
                "COACHMAN_RUNTIME_DIR=%s was removed and cannot be made again (%s): the service runs, but"
                " `coachman status` and handovers do not see it until it is restarted"
            )
            reason = (error.strerror or str(error)).lower()
            self._events.emit(logging.ERROR, "runtime-dir-removed", message, self._folder, reason)
            return
        message = (
            "COACHMAN_RUNTIME_DIR=%s was removed, and has been made again; /metrics counts anew for each"
            " worker that starts from here on"
        )
        self._events.emit(logging.WARNING, "runtime-dir-removed", message, self._folder)
