"""All that the status page shows, as JSON. Runs in a worker."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from coachman import __version__
from coachman.metrics.scoreboard_collector import listen_queue
from coachman.ops.about import About
from coachman.ops.handover import other_views, progress
from coachman.ops.traffic import Files, TrafficCounts
from coachman.state import events, history, start_errors
from coachman.state.rates import MEBIBYTE
from coachman.state.readiness import describe, readiness, status_line
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, words
from coachman.state.view import View
from coachman.system.cpus import available_cpus
from coachman.system.process import release_name
from coachman.system.sockets import format_address

_DETAILS = (
    *("forked_at", "busy_seconds", "cpu_seconds", "loop_lag"),
    *("threads", "threads_busy", "threads_waiting"),
)
_RATES = ("requests_rate", "errors_rate", "failures_rate", "mean", "in_flight_mean", "cpu")  # as in Rates


class Snapshots:
    def __init__(
        self,
        scoreboard: Scoreboard,
        runtime_dir: Path,
        store: Files | None = None,
        public: list[socket.socket] | None = None,
        about: About | None = None,
    ) -> None:
        self._scoreboard, self._runtime_dir, self._public = scoreboard, runtime_dir, public or []
        self._about = about or About()
        self._traffic = TrafficCounts(store, self._about) if store is not None else None
        self._cpus = available_cpus()

    def take(self, since: float = 0.0) -> dict[str, Any]:
        """With the seconds after `since` (UNIX time) of the history.

        All of it is of the generation that serves: of the older one of two, until it has handed over.
        """
        views = [View.of(self._scoreboard), *other_views(self._runtime_dir, self._scoreboard)]
        views.sort(key=lambda view: view.service.generation)
        view = next((view for view in views if view.service.handover != Phase.ACCEPTED), views[-1])
        moment, seconds = history.by_slot(self._runtime_dir, [view.service.generation for view in views])
        # The master may have begun the next second meanwhile: the slots are of this one.
        past = [
            one for one in history.latest(self._runtime_dir, since) if not moment or one["time"] <= moment
        ]
        happened = events.latest(self._runtime_dir)
        errors = start_errors.of_view(self._runtime_dir, view)
        return {
            "time": time.time(),
            "about": self._describe_service(view),
            "answered_by": os.getpid(),
            "line": status_line(view),
            "stopping": _is_stopping(happened, view.service.generation),
            "handover": words(Phase(views[0].service.handover)),
            "progress": progress(views),
            **readiness(view),
            "ended_requests": view.service.requests,
            "now": next((one for one in past if one["time"] == moment), None) if moment else None,
            "cpus": self._cpus,
            "queues": self._queues(),
            "slots": _slots(view, seconds, errors),
            "generations": [
                {
                    "generation": each.service.generation,
                    "master": each.service.pid,
                    "serves": each is view,
                    "workers": each.service.workers,
                    "ready": each.ready,
                    "requests": each.requests,
                    "ended_requests": each.service.requests,
                    "own": seconds.get(each.service.generation, {}).get("master"),
                    "slots": _slots(each, seconds, errors if each is view else {}),
                }
                for each in views
            ],
            "traffic": self._traffic.read() if self._traffic is not None else None,
            "events": happened,
            "history": [one for one in past if one["time"] > since],
        }

    def _describe_service(self, view: View) -> dict[str, Any]:
        started = history.started_at(self._runtime_dir)
        return {
            "coachman": __version__,
            "title": self._about.title,
            "module": self._about.module,
            "release": release_name(),
            "docs": self._about.docs,
            "scheme": self._about.scheme,
            "port": self._about.port,
            "started_at": started or min((row.forked_at for _, row in view.rows if row.pid), default=None),
            "is_without_master": self._scoreboard.is_without_master,
        }

    def _queues(self) -> list[dict[str, Any]]:
        """Of the public addresses: how many connections wait for a worker, and how many may."""
        found = []
        for listener in self._public:
            if (queue := listen_queue(listener)) is not None:
                address = format_address(listener.getsockname()[:2])
                found.append({"listener": address, "waiting": queue[0], "limit": queue[1]})
        return found


def _slots(view: View, seconds: dict[int, dict[str, Any]], errors: dict[int, str]) -> list[dict[str, Any]]:
    by_slot = seconds.get(view.service.generation, {}).get("slots", {})
    return [
        describe(view, number, row, errors) | _details(view, row, by_slot.get(str(number)))
        for number, row in view.rows
    ]


def _details(view: View, row: Row, second: list[Any] | None) -> dict[str, Any]:
    """What /readyz does not say of a slot. Rates are None where its worker has not had a whole second."""
    pid, memory, rss, *rates = second or (0, 0, 0)
    if pid != row.pid or not pid:
        memory, rss, rates = 0, row.rss / MEBIBYTE, [None] * len(_RATES)
    return {
        **{name: getattr(row, name) for name in _DETAILS},
        "rss": round(rss) * MEBIBYTE,
        "silent_seconds": round(view.now - row.beat, 1) if row.beat else None,
        "memory": memory * MEBIBYTE,
        **dict(zip(_RATES, rates, strict=True)),
    }


def _is_stopping(happened: list[dict[str, Any]], generation: int) -> bool:
    """Whether the master of the generation stops, by the events' numbers: the clock may have been set."""
    told = [
        (one["n"], one["event"])
        for one in happened
        if one["event"] in ("started", "stopping") and one["generation"] == generation
    ]
    return max(told, default=(0, ""))[1] == "stopping"
