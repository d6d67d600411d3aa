"""The master's view of one worker. The worker itself is coachman/worker.py, in a process of its own."""

from coachman.master.lifetime import Lifetime
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row, Slot
from coachman.state.states import Reason, State


class ManagedWorker:
    """A worker as the master sees it, from before its fork until it has been reaped. Times are monotonic."""

    def __init__(self, slot: Slot, settings: ServerSettings, forked_at: float) -> None:
        self.slot = slot
        self.pid = 0  # until it is forked
        self.forked_at = forked_at
        self.lifetime = Lifetime(settings, forked_at)
        self.stop_reason: Reason | None = None
        self.stop_requested_at: float | None = None
        self.kill_reason: Reason | None = None
        self.aborted_at: float | None = None  # when SIGABRT was sent
        self._clock_offset: float | None = None  # UNIX time less monotonic time when it was seen to be ready

    @property
    def row(self) -> Row:
        """The worker's row in the scoreboard, as it is now."""
        return self.slot.read()

    @property
    def name(self) -> str:
        return f"Worker in slot {self.slot.number} (pid {self.pid})"

    @property
    def is_active(self) -> bool:
        """Whether the worker is to go on serving."""
        return self.stop_reason is None

    @property
    def is_changing(self) -> bool:
        """Whether its state is about to change: it starts, or is being killed."""
        return self.aborted_at is not None or self.row.state == State.STARTING

    def clock_step(self, offset: float) -> float:
        """By how many seconds the machine's clock has been set since the worker was ready, forward or back.

        `offset` is UNIX time less monotonic time. To be called in each iteration of the loop: the row has
        UNIX times, by which a clock that is set would make a worker look younger or older than it is.
        """
        if not self.row.ready_at:
            return 0.0
        if self._clock_offset is None:
            self._clock_offset = offset
        return offset - self._clock_offset

    def request_stop(self, reason: Reason, now: float) -> None:
        """Records why the worker is asked to stop, unless it was asked before."""
        if self.stop_reason is None:
            self.stop_reason, self.stop_requested_at = reason, now

    def was_suspended(self, seconds: float) -> None:
        """Moves the worker's time limits by the duration of a suspend."""
        self.forked_at += seconds
        if self.stop_requested_at is not None:
            self.stop_requested_at += seconds
