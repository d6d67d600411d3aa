"""Decides whether a worker has served long enough: by requests, by age, by memory."""

import random

from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row
from coachman.state.states import Reason

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

    def expired(self, row: Row, now: float) -> Reason | None:
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
