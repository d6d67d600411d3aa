"""Shared memory with one row per worker slot: the one place that has the state of all workers.

The master makes it before it forks. A row has one writer at a time: the worker while it lives, the master
before and after. All read it without a lock; commands do so by a file in the runtime directory.
"""

import mmap
import struct
import time
import zlib
from typing import Any, NamedTuple, Self

from coachman.state.load_table import LoadTable
from coachman.state.states import STAYING, Phase, Reason, State
from coachman.state.traffic_table import TrafficTable

SLOTS = 512  # twice the most workers there can be: each of them may have a predecessor that still drains


class Row(NamedTuple):
    """One slot. Times are UNIX times in seconds, but `beat` and `pool_stuck_since`, which are monotonic."""

    state: int = State.EMPTY
    pid: int = 0
    since: float = 0.0
    forked_at: float = 0.0
    ready_at: float = 0.0  # 0 until it is
    beat: float = 0.0
    pool_stuck_since: float = 0.0  # 0 while the thread pool moves
    requests: int = 0  # of the present worker
    in_flight: int = 0
    connections: int = 0
    rss: int = 0  # bytes
    lines_dropped: int = 0
    restarts: int = 0
    failures: int = 0  # how many workers in a row ended here before or just after they were ready
    exit_code: int = 0  # of the worker before, as subprocess has it: a signal is negative
    exit_reason: int = Reason.NONE
    exited_at: float = 0.0
    busy_seconds: float = 0.0  # of the present worker: the sum of its requests' durations
    cpu_seconds: float = 0.0  # of the present worker
    loop_lag: float = 0.0  # seconds, the worst of the last second
    threads: int = 0  # of the pool for plain `def` endpoints
    threads_busy: int = 0
    threads_waiting: int = 0  # calls that wait for one

    def at_fork(self, now: float) -> "Row":
        """For the next worker of the slot: it keeps what is known of those before."""
        # Not counted at the end: a stop is no restart. A fork that was refused has been counted.
        replaces = self.exited_at and not self.forked_at and self.exit_reason != Reason.SCALED_DOWN
        kept = {name: getattr(self, name) for name in ("failures", "exit_code", "exit_reason", "exited_at")}
        restarts = self.restarts + bool(replaces)
        return Row(state=State.STARTING, since=now, forked_at=now, restarts=restarts, **kept)

    def at_end(self, now: float, code: int, reason: Reason, *, failures: int, backs_off: bool) -> "Row":
        """Returns the row as it is once the worker has been reaped."""
        return Row(
            state=State.BACKING_OFF if backs_off else State.DEAD,
            since=now,
            restarts=self.restarts,
            failures=failures,
            exit_code=code,
            exit_reason=reason,
            exited_at=now,
        )


class Service(NamedTuple):
    """The master's record about the service. `slots` is how many have ever been used."""

    pid: int = 0
    workers: int = 0
    slots: int = 0
    generation: int = 1
    requests: int = 0  # of workers that have ended
    lines_dropped: int = 0  # by the master and by workers that have ended
    handover: int = Phase.NONE
    handovers: int = 0  # begun
    successor: int = 0  # pid of the master that it is to


_ROW = struct.Struct("=BIdddddQIIQIIIhBddddIII")
_SERVICE = struct.Struct("=IIIIQQBII")
_SEAL = struct.Struct("=QI")
_CELL_BYTES = 2 * (_SEAL.size + _ROW.size)
_LAYOUT = f"coachman {_ROW.format} {_SERVICE.format}".encode().ljust(64)  # another release may have another
# The service's record is shorter than the cell that it lies in. What the master adds for readers of this
# release lies in the rest of its first copy, so that releases before and after read the same layout.
_MASTER_HEARTBEAT = struct.Struct("=dd")  # when the master's loop last turned, COACHMAN_HANG_SECONDS
_MASTER_HEARTBEAT_AT = len(_LAYOUT) + 64
assert _SEAL.size + _SERVICE.size <= 64 <= _SEAL.size + _ROW.size - _MASTER_HEARTBEAT.size
# The last byte: 1 once all workers have been ready at the same time.
_ALL_READY_ONCE_AT = len(_LAYOUT) + (SLOTS + 1) * _CELL_BYTES
MEMORY_BYTES = _ALL_READY_ONCE_AT + 1


class _Cell:
    """A record in two copies, written in turn and sealed by a checksum.

    A writer that is killed in the middle leaves the older copy whole, and a reader takes the newest
    whole copy: it never sees half of one. A sequence lock would leave the row unreadable then.
    """

    def __init__(self, memory: mmap.mmap, index: int, layout: struct.Struct) -> None:
        self._memory, self._layout = memory, layout
        self._start = len(_LAYOUT) + index * _CELL_BYTES

    def read(self) -> tuple[int, tuple[Any, ...]]:
        """Returns the newest complete copy: its sequence number and its values."""
        while True:
            whole = [copy for copy in (self._copy(0), self._copy(1)) if copy is not None]
            if whole:  # else the writer lapped us: it has been round both copies while we read them
                sequence, payload = max(whole)
                return sequence, self._layout.unpack(payload)

    def write(self, values: tuple[Any, ...], *, first: bool = False) -> None:
        sequence = 1 if first else self.read()[0] + 1
        payload = self._layout.pack(*values)
        start = self._offset(sequence % 2)
        sealed = _SEAL.pack(sequence, _checksum(sequence, payload)) + payload
        self._memory[start : start + len(sealed)] = sealed

    def _offset(self, copy: int) -> int:
        return self._start + copy * (_SEAL.size + _ROW.size)

    def _copy(self, copy: int) -> tuple[int, bytes] | None:
        start = self._offset(copy)
        sealed = self._memory[start : start + _SEAL.size + self._layout.size]
        sequence, checksum = _SEAL.unpack_from(sealed)
        payload = sealed[_SEAL.size :]
        return (sequence, payload) if sequence and checksum == _checksum(sequence, payload) else None


def _checksum(sequence: int, payload: bytes) -> int:
    return zlib.crc32(payload, sequence & 0xFFFFFFFF)


class Slot:
    """One row, by its number."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self.number = number
        self._cell = _Cell(memory, number + 1, _ROW)

    def prepare(self) -> None:
        """Called once, before anyone reads."""
        self._cell.write(Row(), first=True)

    def read(self) -> Row:
        return Row(*self._cell.read()[1])

    def write(self, row: Row) -> None:
        self._cell.write(row)

    def update(self, **changes: Any) -> None:
        self.write(self.read()._replace(**changes))

    def detach(self) -> None:
        """Disconnects a process that an application forks: what it writes from here on has no effect."""
        row, self._cell = self.read(), _Cell(mmap.mmap(-1, MEMORY_BYTES), self.number + 1, _ROW)
        self._cell.write(row, first=True)


class Scoreboard:
    """All slots, over memory that `create` has prepared."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self.loads: LoadTable | None = None  # only for the master that made it, and its workers
        self.traffic: TrafficTable | None = None  # the same
        self._service = _Cell(memory, 0, _SERVICE)
        self.slots = [Slot(memory, number) for number in range(SLOTS)]

    @classmethod
    def create(cls, memory: mmap.mmap | None = None) -> Self:
        """Runs in the master. By default in anonymous memory, shared with what is forked from here on."""
        scoreboard = cls(memory or mmap.mmap(-1, MEMORY_BYTES))
        scoreboard.loads, scoreboard.traffic = LoadTable(SLOTS), TrafficTable(SLOTS)
        scoreboard._service.write(Service(), first=True)
        for slot in scoreboard.slots:
            slot.prepare()
        scoreboard._memory[: len(_LAYOUT)] = _LAYOUT
        return scoreboard

    @classmethod
    def attach(cls, memory: mmap.mmap) -> Self:
        """Runs in the operator's command. Raises ValueError for memory that another release has laid out."""
        if len(memory) != MEMORY_BYTES or memory[: len(_LAYOUT)] != _LAYOUT:
            raise ValueError("a scoreboard of another release")
        return cls(memory)

    @property
    def service(self) -> Service:
        return Service(*self._service.read()[1])

    def update_service(self, **changes: Any) -> None:
        self._service.write(self.service._replace(**changes))

    def rows(self, service: Service | None = None) -> list[tuple[int, Row]]:
        """The slots in use, by number. A dead one counts only as long as a worker is missing.

        `service` is the service's record, for a caller that has read it already.
        """
        service = service or self.service
        all_rows = [(slot.number, slot.read()) for slot in self.slots[: service.slots]]
        staying = sum(row.state in STAYING for _, row in all_rows)
        dead = [number for number, row in all_rows if row.state == State.DEAD]
        wanted = 0 if service.handover == Phase.ACCEPTED else service.workers
        missing = dead[: max(0, wanted - staying)]
        return [
            (number, row)
            for number, row in all_rows
            if row.state != State.EMPTY and (row.state != State.DEAD or number in missing)
        ]

    def ready(self) -> int:
        """How many workers serve."""
        return sum(row.state == State.READY for _, row in self.rows())

    @property
    def is_without_master(self) -> bool:
        """Whether the service is one process without a master: `coachman serve`."""
        return self.service.pid == self.slots[0].read().pid

    @property
    def was_ready(self) -> bool:
        """Whether all workers have once been ready at the same time."""
        return bool(self._memory[_ALL_READY_ONCE_AT])

    @property
    def is_on_trial(self) -> bool:
        """Whether this is a generation that is to take over and has not been ready yet."""
        return self.service.generation > 1 and not self.was_ready

    def record_readiness(self) -> None:
        """Called by the master in each iteration of its loop."""
        if self.ready() >= self.service.workers:
            self._memory[_ALL_READY_ONCE_AT] = 1

    def record_master_heartbeat(self, hang_seconds: float) -> None:
        """Called by the master in each iteration of its loop, so that others notice a stopped master."""
        _MASTER_HEARTBEAT.pack_into(self._memory, _MASTER_HEARTBEAT_AT, time.monotonic(), hang_seconds)

    def master_heartbeat(self) -> tuple[float, float]:
        """The master's last heartbeat (monotonic) and its COACHMAN_HANG_SECONDS; zeros if unknown."""
        beat, hang_seconds = _MASTER_HEARTBEAT.unpack_from(self._memory, _MASTER_HEARTBEAT_AT)
        return beat, hang_seconds
