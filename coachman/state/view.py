"""One reading of a scoreboard: what readiness, the status line, the page, the metrics and `status` all show.

The rows are read once for each answer, so that no two parts of it disagree.
"""

import os
import time
from typing import NamedTuple, Self

from coachman.state.scoreboard import Row, Scoreboard, Service
from coachman.state.states import STAYING, Phase, State

STUCK_SECONDS = 2.0  # a worker writes its row every 0.1 s; a row this old is that of a blocked event loop
MASTER_STUCK_SECONDS = 5.0  # a master's loop turns every 0.5 s, and forks and reaps in between
STABLE_SECONDS = 60.0  # of service, after which the failed starts before it no longer count
_HAS_HEARTBEAT = (State.READY, State.DRAINING)


class View(NamedTuple):
    """Everything that a rendering needs. `now` is monotonic, in seconds, and is the moment of the reading."""

    service: Service
    rows: list[tuple[int, Row]]
    was_ready: bool
    now: float
    master_beat: float = 0.0  # monotonic; 0 where the master does not write it
    hang_seconds: float = 0.0  # COACHMAN_HANG_SECONDS of the master; 0 where it is not known
    reader_beat: float = 0.0  # monotonic; of the worker that reads, 0 where it is another process

    @classmethod
    def of(cls, scoreboard: Scoreboard) -> Self:
        service = scoreboard.service
        rows = scoreboard.rows(service)
        return cls(
            service,
            rows,
            scoreboard.was_ready,
            time.monotonic(),
            *scoreboard.master_heartbeat(),
            reader_beat=next((row.beat for _, row in rows if row.pid == os.getpid()), 0.0),
        )

    @property
    def ready(self) -> int:
        """How many workers serve: those that are ready and whose event loop moves."""
        return sum(row.state == State.READY and not self.stuck_seconds(row) for _, row in self.rows)

    @property
    def requests(self) -> int:
        """Requests answered by this generation, including those of workers that have ended."""
        return self.service.requests + sum(row.requests for _, row in self.rows)

    @property
    def lines_dropped(self) -> int:
        return self.service.lines_dropped + sum(row.lines_dropped for _, row in self.rows)

    @property
    def status(self) -> str:
        """ready: serves in full; degraded: some of the wanted workers serve, or no master watches them.

        down: no worker serves. handed-over: the next generation serves, and this one drains.
        """
        if self.service.handover == Phase.ACCEPTED:
            return "handed-over"
        if not self.ready:
            return "down"
        return "ready" if self.ready >= self.service.workers and not self.master_stuck_seconds else "degraded"

    @property
    def master_stuck_seconds(self) -> float:
        """For how long the master's loop has not moved; 0 while it does, and where that is not known.

        A master that stops the service waits for its workers, and its loop does not turn meanwhile.
        """
        if not self.master_beat or not any(row.state in STAYING for _, row in self.rows):
            return 0.0
        age = self.now - self.master_beat
        return age if age > MASTER_STUCK_SECONDS else 0.0

    def share(self, row: Row) -> float:
        """Which part of the open connections the worker has, from 0 to 1; 0 where there are none."""
        total = sum(other.connections for _, other in self.rows)
        return row.connections / total if total else 0.0

    @property
    def imbalance(self) -> float:
        """The most connections of one ready worker, as a multiple of an even share; 0 without any."""
        connections = [row.connections for _, row in self.rows if row.state == State.READY]
        return max(connections) * len(connections) / sum(connections) if sum(connections) else 0.0

    def stuck_seconds(self, row: Row) -> float:
        """For how long the worker's event loop has not moved; 0 while it does.

        A worker that reads measures from its own last heartbeat. On a machine without CPU time for anybody
        that is old too, and says nothing of the others; of itself the reading proves that it moves.
        """
        is_late = (self.reader_beat or self.now) - row.beat > STUCK_SECONDS
        return self.now - row.beat if row.beat and row.state in _HAS_HEARTBEAT and is_late else 0.0

    def killed_in_seconds(self, row: Row) -> float | None:
        """When the master will kill a stuck worker; None where it will not, or the limit is not known."""
        stuck = self.stuck_seconds(row)
        if not stuck or not self.hang_seconds or self.master_stuck_seconds:
            return None
        return max(0.0, self.hang_seconds - stuck)


def uptime(row: Row, now: float) -> float:
    """How long a worker has served, in seconds: from ready to the start of its drain, or to `now`."""
    if not row.ready_at:
        return 0.0
    return (row.since if row.state == State.DRAINING else now) - row.ready_at


def is_stable(row: Row, now: float) -> bool:
    """Whether a worker has served for so long that failed starts before it no longer count."""
    return uptime(row, now) > STABLE_SECONDS


def failures_in_a_row(row: Row, now: float) -> int:
    """How many workers in a row failed in a slot, 0 once the present one has served for STABLE_SECONDS."""
    return 0 if is_stable(row, now) else row.failures
