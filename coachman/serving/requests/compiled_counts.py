"""Counts the requests that compiled functions have answered, and others. Runs in the worker."""

import sys

from coachman.metrics.counters import Metrics


class CompiledCounts:
    """Adds what the compiler has counted since the last time to the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._compiled, self._left = metrics.answered.labels("compiled"), metrics.answered.labels("fastapi")
        # Not imported here: an application without FastAPI has no compiler, and COACHMAN_COMPILE=off none.
        module = sys.modules.get("coachman.compiler.counts")
        self._counts = module.COUNTS if module is not None else None
        self._last = (0, 0)

    def flush(self) -> None:
        if self._counts is None:
            return
        now = (self._counts.compiled, self._counts.left)
        if now != self._last:
            self._compiled.inc(now[0] - self._last[0])
            self._left.inc(now[1] - self._last[1])
            self._last = now
