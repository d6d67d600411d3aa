"""All that the status page shows, as JSON. Runs in a worker."""

import os
import time
from pathlib import Path
from typing import Any

from coachman.state import events, history
from coachman.state.readiness import readiness, status_line
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase
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
        """With the seconds after `since` of the history."""
        return {
            "time": time.time(),
            "release": release_name(),
            "answered_by": os.getpid(),
            "line": status_line(self._scoreboard),
            "handover": Phase(self._scoreboard.service.handover).name.lower().replace("_", "-"),
            **readiness(self._scoreboard),
            "slots": self._slots(),
            "events": events.latest(self._runtime_dir),
            "history": history.latest(self._runtime_dir, since),
        }

    def _slots(self) -> list[dict[str, Any]]:
        rows = dict(self._scoreboard.rows())
        described: list[dict[str, Any]] = readiness(self._scoreboard)["slots"]
        return [
            slot | {name: getattr(rows[slot["slot"]], name) for name in _DETAILS}
            for slot in described
            if slot["slot"] in rows
        ]
