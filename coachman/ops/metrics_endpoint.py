"""`/metrics`, asked by Prometheus: the counts of all slots, and the scoreboard of this moment."""

import asyncio
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from coachman.metrics.scoreboard_collector import ScoreboardCollector
from coachman.metrics.store import Store
from coachman.ops.responses import Response, json_response
from coachman.state.scoreboard import Scoreboard


class Scrape:
    def __init__(
        self,
        scoreboard: Scoreboard | None,
        store: Store | None,
        public: list[socket.socket],
        threads: Executor,
        runtime_dir: Path,
    ) -> None:
        self._threads = threads
        self._collectors = None
        if scoreboard is not None and store is not None:
            self._collectors = CollectorRegistry()
            self._collectors.register(_Counts(store))
            self._collectors.register(ScoreboardCollector(scoreboard, public, runtime_dir))

    async def answer(self, accept: str) -> Response:
        if self._collectors is None:
            sentence = (
                "Nothing is counted: COACHMAN_METRICS is off, or COACHMAN_RUNTIME_DIR cannot be written."
            )
            return json_response({"detail": sentence}, 503)
        encode, content_type = choose_encoder(accept)
        # Some milliseconds of work: not on the loop that serves the application.
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._threads, encode, self._collectors)
        return Response(text, content_type=content_type)


class _Counts(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        merged: Iterable[Metric] = MultiProcessCollector.merge(self._store.files())  # type: ignore[no-untyped-call]
        return merged
