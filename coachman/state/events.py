"""Events of the service, in the log and in a file that the status page reads."""

import logging
import time
from pathlib import Path
from typing import Any

from coachman.logs.formatters import FIELDS
from coachman.state.readiness import status_line
from coachman.state.ring_file import AHEAD_SECONDS, Ring, read
from coachman.state.runtime_dir import PARITIES, ops_folder, parity
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import State
from coachman.state.view import View

RECORD_BYTES, RECORDS = 512, 256
SHOWN = 100
DEGRADED_SECONDS = 1.0  # a worker that is killed and replaced is no news beside its own end

log = logging.getLogger("coachman.events")


class Events:
    """Records events; runs in the master. Each generation has a file of its own, as two may live at once."""

    def __init__(self, runtime_dir: Path, generation: int) -> None:
        self._ring = Ring(_path(runtime_dir, generation), RECORD_BYTES, RECORDS)
        self._generation = generation
        self._ready: dict[int, int] = {}  # slot -> pid
        self._whole_at = time.monotonic()
        self._is_degraded = False
        self._workers = 0

    def emit(self, level: int, kind: str, message: str, *arguments: Any, **fields: Any) -> None:
        """Logs an event and records it."""
        self.log(level, kind, message, *arguments, **fields)
        self.record(kind, message % arguments if arguments else message, level, **fields)

    def log(self, level: int, kind: str, message: str, *arguments: Any, **fields: Any) -> None:
        """Logs an event, which the line names in its fields."""
        log.log(level, message, *arguments, extra={FIELDS: {"event": kind, **fields}})

    def record(self, kind: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
        self._ring.write(
            time=round(time.time(), 3),
            level=logging.getLevelName(level).lower(),
            event=kind,
            generation=self._generation,
            message=message,
            **fields,
        )

    def poll(self, scoreboard: Scoreboard) -> None:
        """Records changes of the scoreboard. Called in each iteration of the master's loop."""
        view = View.of(scoreboard)
        service = view.service
        self._record_ready(view.rows)
        if self._workers and self._workers != service.workers:
            self.record("scaled", f"{service.workers} workers are wanted (before: {self._workers})")
        self._workers = service.workers
        if view.was_ready:
            self._record_degraded(view)

    def _record_ready(self, rows: list[tuple[int, Row]]) -> None:
        for number, row in rows:
            if row.state == State.READY and self._ready.get(number) != row.pid:
                self._ready[number] = row.pid
                seconds = row.ready_at - row.forked_at
                message = f"Worker in slot {number} (pid {row.pid}) is ready {seconds:.2f} s after its fork"
                self.record("ready", message, slot=number)

    def _record_degraded(self, view: View) -> None:
        now = time.monotonic()
        if view.ready >= view.service.workers:
            self._whole_at = now
            if self._is_degraded:
                self._is_degraded = False
                self.record("restored", f"All workers serve again: {status_line(view)}")
        elif not self._is_degraded and now - self._whole_at > DEGRADED_SECONDS:
            self._is_degraded = True
            self.record("degraded", status_line(view).capitalize(), logging.WARNING)


def latest(runtime_dir: Path, most: int = SHOWN) -> list[dict[str, Any]]:
    """Runs in a worker: the newest events of the generations, the newest first.

    An event of the future is from before the clock was set back: it is older than all others.
    """
    ahead = time.time() + AHEAD_SECONDS
    found = [record for one in PARITIES for record in read(_path(runtime_dir, one))]
    found.sort(key=lambda record: (record["time"] <= ahead, record["time"], record["n"]), reverse=True)
    return found[:most]


def _path(runtime_dir: Path, generation: int) -> Path:
    return ops_folder(runtime_dir) / f"events.{parity(generation)}"
