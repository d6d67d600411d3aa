"""Which worker has served long enough: by requests, by age, by memory."""

import logging
import random
import time
from typing import TYPE_CHECKING

from coachman.master.status_reporter import name_of
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row
from coachman.state.states import Reason, words

if TYPE_CHECKING:
    from coachman.master.supervisor import Supervisor
    from coachman.worker import Worker

SAMPLES = 3  # one a second; a single one may be an upload that is gone by the next
SAMPLE_SECONDS = 1.0


class Lifetime:
    """One worker's limits. Jittered, so that workers forked together do not leave together."""

    def __init__(self, settings: ServerSettings, now: float) -> None:
        spread = random.uniform(1, 1.1)  # noqa: S311
        self._requests = settings.max_requests * spread
        self._ends_at = now + settings.max_age_seconds * spread if settings.max_age_seconds else 0.0
        self._rss = settings.max_rss_mb * 1024 * 1024
        self._sampled_at = now
        self._samples_over = 0
        self._beat = 0.0

    def outlived(self, row: Row, now: float) -> Reason | None:
        """Which limit the worker has passed. `now` is monotonic; asked at least once a second."""
        if now - self._sampled_at >= SAMPLE_SECONDS and row.beat != self._beat:  # an old row is no new sample
            self._sampled_at, self._beat = now, row.beat
            self._samples_over = self._samples_over + 1 if row.rss > self._rss else 0
        if self._requests and row.requests >= self._requests:
            return Reason.RECYCLED_REQUESTS
        if self._ends_at and now >= self._ends_at:
            return Reason.RECYCLED_AGE
        # One that has served nothing holds what any successor would hold too.
        if self._rss and self._samples_over >= SAMPLES and row.requests:
            return Reason.RECYCLED_MEMORY
        return None


class Recycling:
    """Runs in the master: one worker at a time, and only while all serve.

    The successor is ready before its predecessor drains, so that no capacity is lost.
    """

    def __init__(self, arbiter: "Supervisor") -> None:
        self._arbiter = arbiter
        self._outgoing: Worker | None = None
        self._reason = Reason.NONE

    @property
    def is_under_way(self) -> bool:
        """Whether one worker more than usual is wanted."""
        return self._outgoing is not None and self._outgoing.leaving is None

    def look(self) -> None:
        """Called each time that the master's loop turns."""
        arbiter = self._arbiter
        if self._outgoing is None:
            self._begin()
        elif self.is_under_way and arbiter.all_ready(arbiter.num_workers + 1):
            arbiter.tell_to_leave(self._outgoing, self._reason)

    def has_ended(self, worker: "Worker") -> None:
        if worker is self._outgoing:
            self._outgoing = None

    def _begin(self) -> None:
        arbiter, now = self._arbiter, time.monotonic()
        worn = [(worker, worker.outlived(now)) for worker in arbiter.staying()]
        may = arbiter.all_ready(arbiter.num_workers) and len(arbiter.WORKERS) == arbiter.num_workers
        for worker, reason in worn:
            if reason is not None and may:
                self._outgoing, self._reason = worker, reason
                message = "%s is to be replaced: %s"
                arbiter.events.tell(logging.INFO, "recycling", message, name_of(worker), words(reason))
                arbiter.fork_missing()
                return
