"""Metrics that the master counts; nothing where metrics are off or have no folder."""

from coachman.metrics.counters import Metrics
from coachman.metrics.store import Store
from coachman.state.states import Phase, Reason, words


class Counts:
    def __init__(self, metrics: Metrics | None = None, store: Store | None = None) -> None:
        self._metrics, self._store = metrics, store

    def worker_ended(self, slot: int, generation: int, reason: Reason) -> None:
        if self._metrics is not None:
            self._metrics.exits.labels(words(reason)).inc()
        if self._store is not None:
            self._store.forget(slot, generation)

    def handover_ended(self, phase: Phase) -> None:
        if self._metrics is not None:
            self._metrics.handovers.labels(words(phase)).inc()

    def lines_dropped(self, count: int) -> None:
        if self._metrics is not None:
            self._metrics.lines_dropped.inc(count)

    def generation_ended(self, generation: int) -> None:
        """Forgets what was true only while workers of a generation lived, which has not said so itself."""
        if self._store is not None:
            self._store.forget_generation(generation)
