"""The last minutes, second by second: the one source of the status page's figures, table and graphs."""

import os
import time
from pathlib import Path
from typing import Any

from coachman.state.memory import Memory
from coachman.state.rates import (
    MEBIBYTE,
    Reading,
    buckets_between,
    rates,
    rounded,
    totals,
    whole_mebibytes,
)
from coachman.state.ring_file import AHEAD_SECONDS, Ring, read
from coachman.state.runtime_dir import PARITIES, ops_folder, parity
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, State
from coachman.state.traffic_table import Traffic, percentile
from coachman.system.process import rss_bytes

RECORD_BYTES, RECORDS = 320, 300
SLOTS_BYTES, SLOTS_RECORDS = 32 * 1024, 3  # of the seconds by slot: room for each of 512
FRESH_SECONDS = 3.0  # a master that has written nothing for so long drains, is stuck, or has gone
SUMS = ("requests", "errors", "failures", "busy", "in_flight", "cpu", "rss", "memory")
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WORST = ("lag", *PERCENTILES)  # of two generations, which cannot be added up
OF_WHO_SERVES = ("ready", "wanted")


class History:
    """Records the history. Runs in the master, the one process that is always there."""

    def __init__(self, runtime_dir: Path, generation: int) -> None:
        self._runtime_dir, self._generation = runtime_dir, generation
        self._ring = Ring(_path(runtime_dir, generation), RECORD_BYTES, RECORDS)
        self._by_slot = Ring(_slots_path(runtime_dir, generation), SLOTS_BYTES, SLOTS_RECORDS)
        self._memory = Memory()
        self._seen: dict[int, Reading] = {}
        self._polled_at = self._own_cpu = 0.0
        if generation == 1:
            _note_start(runtime_dir)

    def poll(self, scoreboard: Scoreboard) -> None:
        """Called in each iteration of the master's loop, about once a second or more often."""
        now = time.time()
        if int(now) == int(self._polled_at):
            return
        elapsed = now - self._polled_at
        self._polled_at = now
        rows, traffic = scoreboard.rows(), scoreboard.traffic
        readings = {
            number: Reading(row, traffic.read(number) if traffic is not None else Traffic())
            for number, row in rows
        }
        seen, self._seen = self._seen, readings
        cpu, own_cpu = time.process_time() - self._own_cpu, time.process_time()
        self._own_cpu = own_cpu
        if not 0 < elapsed <= 60:  # the first look, or the clock has been set
            return
        self._write(scoreboard, rows, seen, int(now), elapsed, cpu / elapsed)

    def _write(
        self,
        scoreboard: Scoreboard,
        rows: list[tuple[int, Row]],
        before: dict[int, Reading],
        moment: int,
        elapsed: float,
        own_cpu: float,
    ) -> None:
        service = scoreboard.service
        pairs = {n: (before.get(n, Reading()), now) for n, now in self._seen.items() if now.row.pid}
        found = rounded({number: rates(*pair, elapsed) for number, pair in pairs.items()})
        pids = {row.pid for _, row in rows if row.pid}
        read_now = self._memory.poll(sorted(pids | {service.pid}), time.monotonic())
        memory = {pid: whole_mebibytes(size) for pid, size in read_now.items()}
        # Where one process is both, its worker's row has it.
        own = {
            "cpu": round(own_cpu, 2),
            "rss": whole_mebibytes(rss_bytes()),
            "memory": memory.get(service.pid, 0),
        }
        if service.pid in pids:
            own = dict.fromkeys(own, 0)
        slots = {}
        for number, one in found.items():
            row = self._seen[number].row
            sizes = [size // MEBIBYTE for size in (memory.get(row.pid, 0), whole_mebibytes(row.rss))]
            slots[number] = [row.pid, *sizes, *one]
        self._ring.write(
            time=moment,
            generation=self._generation,
            speaks=int(service.handover != Phase.ACCEPTED),
            **totals(found),
            **_percentiles([buckets_between(*pair) for pair in pairs.values()]),
            cpu=round(sum(one.cpu for one in found.values()) + own["cpu"], 2),
            rss=sum(whole_mebibytes(row.rss) for _, row in rows) + own["rss"],
            memory=sum(memory.get(pid, 0) for pid in pids) + own["memory"],
            ready=sum(row.state == State.READY for _, row in rows),
            wanted=service.workers,
            lag=round(max((row.loop_lag for _, row in rows), default=0.0), 4),
        )
        # Last: who reads a second by slot finds that of the whole.
        self._by_slot.write(time=moment, generation=self._generation, master=own, slots=slots)


def _percentiles(of_workers: list[tuple[float, ...]]) -> dict[str, float | None]:
    buckets = [sum(column) for column in zip(*of_workers, strict=True)]
    found = {name: percentile(buckets, part) for name, part in PERCENTILES.items()}
    return {name: None if value is None else round(value, 5) for name, value in found.items()}


def latest(runtime_dir: Path, since: float = 0.0) -> list[dict[str, Any]]:
    """Runs in a worker: the seconds after `since`, the oldest first; those of two generations added up.

    After the clock was set back those of before it are left out, and of one that there was twice the later.
    """
    now = time.time()
    oldest, newest = max(since, now - RECORDS), now + AHEAD_SECONDS
    seconds: dict[int, dict[int, dict[str, Any]]] = {}  # by time, by generation
    for one in PARITIES:
        for record in sorted(read(_path(runtime_dir, one)), key=lambda record: int(record["n"])):
            if oldest < record["time"] <= newest and "speaks" in record:  # else of a Coachman before
                seconds.setdefault(record["time"], {})[record["generation"]] = record
    return [merged(list(seconds[moment].values())) for moment in sorted(seconds)]


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One second of all generations that there were in it."""
    records.sort(key=lambda record: record["generation"])
    # The older one serves until it has handed over: a handover is no moment with twice the workers.
    speaker = next((record for record in records if record["speaks"]), records[-1])
    return {
        "time": speaker["time"],
        **{name: round(sum(record[name] for record in records), 4) for name in SUMS},
        **{name: max((r[name] for r in records if r[name] is not None), default=None) for name in WORST},
        **{name: speaker[name] for name in OF_WHO_SERVES},
    }


def by_slot(runtime_dir: Path, generations: list[int]) -> tuple[int, dict[int, dict[str, Any]]]:
    """Runs in a worker: the newest second that all these generations have, and it by generation, by slot.

    Without those whose masters write none any more; 0 and nothing where none does.
    """
    now, found = time.time(), {}
    for one in generations:
        records = [
            record
            for record in read(_slots_path(runtime_dir, one))
            if record.get("generation") == one and record["time"] <= now + AHEAD_SECONDS
        ]
        newest = max((record["time"] for record in records), default=0)
        if now - newest < FRESH_SECONDS:
            found[one] = {record["time"]: record for record in records}
    if not found:
        return 0, {}
    moment = min(max(seconds) for seconds in found.values())
    return moment, {one: seconds[moment] for one, seconds in found.items() if moment in seconds}


def started_at(runtime_dir: Path) -> float | None:
    """When the service was started (UNIX time), however many handovers ago."""
    try:
        return float(_start_path(runtime_dir).read_text())
    except (OSError, ValueError):
        return None


def _note_start(runtime_dir: Path) -> None:
    path = _start_path(runtime_dir)
    draft = path.with_name(f".started.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(f"{time.time():.3f}")
        draft.rename(path)
    except OSError:
        return  # costs a line of the status page


def _start_path(runtime_dir: Path) -> Path:
    return ops_folder(runtime_dir) / "started"


def _path(runtime_dir: Path, generation: int) -> Path:
    return ops_folder(runtime_dir) / f"history.{parity(generation)}"


def _slots_path(runtime_dir: Path, generation: int) -> Path:
    return ops_folder(runtime_dir) / f"seconds.{parity(generation)}"
