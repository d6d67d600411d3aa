"""The last minutes, second by second, for the graphs of the status page."""

import time
from pathlib import Path
from typing import Any, NamedTuple

from coachman.state.ring_file import Ring, read
from coachman.state.runtime_dir import PARITIES, ops_folder, parity
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import State

RECORD_BYTES, RECORDS = 192, 300
SUMS = ("requests", "busy", "in_flight", "ready", "cpu", "rss")


class _Seen(NamedTuple):
    """A worker's counts at the last poll."""

    pid: int = 0
    requests: int = 0
    busy: float = 0.0
    cpu: float = 0.0


class History:
    """Records the history. Runs in the master, the one process that is always there."""

    def __init__(self, runtime_dir: Path, generation: int) -> None:
        self._ring = Ring(_path(runtime_dir, generation), RECORD_BYTES, RECORDS)
        self._seen: dict[int, _Seen] = {}
        self._polled_at = 0.0

    def poll(self, scoreboard: Scoreboard) -> None:
        """Called in each iteration of the master's loop, about once a second or more often."""
        now = time.time()
        if int(now) == int(self._polled_at):
            return
        elapsed = now - self._polled_at
        self._polled_at = now
        rows = scoreboard.rows()
        used = [self._used(number, row) for number, row in rows]
        self._seen = {number: _counts(row) for number, row in rows}
        if not 0 < elapsed <= 60:  # the first poll, or the clock has been set
            return
        self._ring.write(
            time=int(now),
            requests=round(sum(one.requests for one in used) / elapsed, 2),  # a second
            busy=round(sum(one.busy for one in used) / elapsed, 4),  # seconds of requests, a second
            cpu=round(sum(one.cpu for one in used) / elapsed, 3),  # cores
            in_flight=sum(row.in_flight for _, row in rows),
            ready=sum(row.state == State.READY for _, row in rows),
            rss=sum(row.rss for _, row in rows),
            lag=round(max((row.loop_lag for _, row in rows), default=0.0), 4),
        )

    def _used(self, number: int, row: Row) -> _Seen:
        """Returns the increase since the last poll. A new worker in a slot began at zero."""
        now, before = _counts(row), self._seen.get(number, _Seen())
        if before.pid != now.pid:
            return now
        return _Seen(
            now.pid, now.requests - before.requests, now.busy - before.busy, max(0.0, now.cpu - before.cpu)
        )


def _counts(row: Row) -> _Seen:
    return _Seen(row.pid, row.requests, row.busy_seconds, row.cpu_seconds)


def latest(runtime_dir: Path, since: float = 0.0) -> list[dict[str, Any]]:
    """Runs in a worker: the seconds after `since`, the oldest first; those of two generations added up."""
    oldest = max(since, time.time() - RECORDS)
    seconds: dict[int, dict[str, Any]] = {}
    for one in PARITIES:
        for record in read(_path(runtime_dir, one)):
            if record["time"] > oldest:
                second = seconds.setdefault(record["time"], dict.fromkeys(SUMS, 0) | {"lag": 0})
                for name in SUMS:
                    second[name] += record[name]
                second["lag"] = max(second["lag"], record["lag"])
    return [{"time": moment, **seconds[moment]} for moment in sorted(seconds)]


def _path(runtime_dir: Path, generation: int) -> Path:
    return ops_folder(runtime_dir) / f"history.{parity(generation)}"
