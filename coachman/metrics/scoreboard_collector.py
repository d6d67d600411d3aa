"""Gauges from the scoreboard, as they are at the moment of a scrape."""

import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coachman.state import history
from coachman.state.scoreboard import Row, Scoreboard, Service
from coachman.state.states import Phase, State, words
from coachman.state.view import View, failures_in_a_row
from coachman.system.process import release_name
from coachman.system.sockets import format_address

_QUEUE = struct.Struct("=II")
_MEMORY_SECONDS = 10.0  # for which the last reading stands
_QUEUE_AT = 24  # of tcp_info: tcpi_unacked and tcpi_sacked, which in a listening socket are these two


def _failures(row: Row) -> float:
    return failures_in_a_row(row, time.time())


_UNDER_WAY = (Phase.UNDER_WAY, Phase.REFUSING)
# Of each worker that there is: name, help, value.
_OF_WORKERS: tuple[tuple[str, str, Callable[[Row], float]], ...] = (
    ("worker_start_time_seconds", "UNIX time at which the slot's worker was forked.", lambda r: r.forked_at),
    ("worker_requests", "Requests that the slot's present worker has answered.", lambda r: r.requests),
    ("worker_requests_in_flight", "Requests that a worker works on.", lambda r: r.in_flight),
    ("worker_connections", "Connections that a worker has open.", lambda r: r.connections),
    ("worker_resident_memory_bytes", "Memory of a worker.", lambda r: r.rss),
    ("worker_event_loop_lag_seconds", "Worst lag of the last second.", lambda r: r.loop_lag),
    ("worker_threads", "Threads that plain `def` endpoints may use.", lambda r: r.threads),
    ("worker_threads_busy", "Threads that such endpoints use.", lambda r: r.threads_busy),
    ("worker_threads_waiting", "Calls that wait for a thread.", lambda r: r.threads_waiting),
    ("worker_failures_in_a_row", "Failed starts since the last good one.", _failures),
    ("worker_heartbeat_age_seconds", "Since the event loop last turned.", lambda r: _age(r.beat)),
)
_OF_SERVICE: tuple[tuple[str, str, Callable[[Service], float]], ...] = (
    ("workers_wanted", "Workers that there should be.", lambda s: s.workers),
    ("generation", "How many masters there have been, this one included.", lambda s: s.generation),
    ("handover_under_way", "1 from SIGUSR2 to the outcome.", lambda s: s.handover in _UNDER_WAY),
)
_OF_VIEW: tuple[tuple[str, str, Callable[[View], float]], ...] = (
    (
        "generation_requests",
        "Requests that this generation has answered, as `coachman status` has it.",
        lambda v: v.requests,
    ),
    ("workers_ready", "Workers that serve: ready, and with an event loop that turns.", lambda v: v.ready),
    (
        "workers_stuck",
        "Workers whose event loop has not turned for two seconds or more.",
        lambda v: sum(v.stuck_seconds(row) > 0 for _, row in v.rows),
    ),
    (
        "connections_imbalance",
        "Most open connections of one ready worker, as a multiple of an even share; 0 without any.",
        lambda v: v.imbalance,
    ),
    (
        "master_stuck_seconds",
        "For how long the master's loop has not turned; 0 while it does.",
        lambda v: v.master_stuck_seconds,
    ),
)
_SHOWN_STATES = tuple(state for state in State if state != State.EMPTY)


class ScoreboardCollector(Collector):
    """Runs in the worker that is scraped, and reports on all workers of this generation."""

    def __init__(self, scoreboard: Scoreboard, public: list[socket.socket], runtime_dir: Path) -> None:
        self._scoreboard, self._public, self._runtime_dir = scoreboard, public, runtime_dir

    def collect(self) -> Iterator[Metric]:
        view = View.of(self._scoreboard)
        for name, text, of_service in _OF_SERVICE:
            yield GaugeMetricFamily(f"coachman_{name}", text, value=of_service(view.service))
        for name, text, of_view in _OF_VIEW:
            yield GaugeMetricFamily(f"coachman_{name}", text, value=of_view(view))
        yield _info()
        yield _memory(self._runtime_dir)
        yield _states(view.rows)
        for name, text, value in _OF_WORKERS:
            family = GaugeMetricFamily(f"coachman_{name}", text, labels=["slot"])
            for number, row in view.rows:
                if row.pid:
                    family.add_metric([str(number)], value(row))
            yield family
        yield from _queues(self._public)


def _info() -> Metric:
    info = GaugeMetricFamily("coachman_info", "Always 1.", labels=["release", "python"])
    info.add_metric([release_name(), sys.version.split()[0]], 1)
    return info


def _memory(runtime_dir: Path) -> Metric:
    """As the master has read it; without a value while it has not."""
    family = GaugeMetricFamily(
        "coachman_memory_bytes", "Memory of all processes, pages that they share counted once.", labels=[]
    )
    seconds = history.latest(runtime_dir, time.time() - _MEMORY_SECONDS)
    if seconds and seconds[-1]["memory"]:
        family.add_metric([], seconds[-1]["memory"])
    return family


def _states(rows: list[tuple[int, Row]]) -> Metric:
    family = GaugeMetricFamily("coachman_workers", "Slots in a state.", labels=["state"])
    states = [row.state for _, row in rows]
    for state in _SHOWN_STATES:
        family.add_metric([words(state)], states.count(state))
    return family


def _queues(listeners: list[socket.socket]) -> Iterator[Metric]:
    length = GaugeMetricFamily(
        "coachman_listen_queue", "Connections that no worker has taken yet.", labels=["listener"]
    )
    limit = GaugeMetricFamily(
        "coachman_listen_queue_limit", "Beyond it the kernel refuses.", labels=["listener"]
    )
    for listener in listeners:
        if (queue := listen_queue(listener)) is not None:
            address = format_address(listener.getsockname()[:2])
            length.add_metric([address], queue[0])
            limit.add_metric([address], queue[1])
    yield length
    yield limit


def listen_queue(listener: socket.socket) -> tuple[int, int] | None:
    """How many connections wait and how many may, where the kernel tells: of TCP, on Linux."""
    if listener.family == socket.AF_UNIX or sys.platform != "linux":
        return None
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE_AT + _QUEUE.size)
    except OSError:
        return None
    waiting, limit = _QUEUE.unpack_from(info, _QUEUE_AT)
    return waiting, limit


def _age(beat: float) -> float:
    return max(0.0, time.monotonic() - beat) if beat else 0.0
