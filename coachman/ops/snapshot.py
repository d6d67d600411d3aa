"""All that the status page shows, as JSON. Runs in a worker."""

import os
import time
from pathlib import Path
from typing import Any

from coachman.state import events, history
from coachman.state.readiness import describe, readiness, status_line
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase, words
from coachman.state.view import View
from coachman.system.process import release_name

_DETAILS = (
    "forked_at",
    "busy_seconds",
    "cpu_seconds",
    "loop_lag",
    "threads",
    "threads_busy",
    "threads_waiting",
)


class Snapshots:
    def __init__(self, scoreboard: Scoreboard, runtime_dir: Path) -> None:
        self._scoreboard, self._runtime_dir = scoreboard, runtime_dir

    def take(self, since: float = 0.0) -> dict[str, Any]:
        """With the seconds after `since` (UNIX time) of the history."""
        view = View.of(self._scoreboard)
        return {
            "time": time.time(),
            "release": release_name(),
            "answered_by": os.getpid(),
            "line": status_line(view),
            "handover": words(Phase(view.service.handover)),
            **readiness(view),
            "slots": [
                describe(view, number, row) | {name: getattr(row, name) for name in _DETAILS}
                for number, row in view.rows
            ],
            "events": events.latest(self._runtime_dir),
            "history": history.latest(self._runtime_dir, since),
        }
