"""A view as JSON, which `/readyz` answers and `coachman status --json` prints, and as one line."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coachman.state.scoreboard import Row
from coachman.state.states import Phase, Reason, State, signal_name, words
from coachman.state.view import View, failures_in_a_row

_MOST_CAUSES = 3  # of a status line, which systemd shows in one row


def readiness(view: View | None, start_errors: Mapping[int, str] | None = None) -> dict[str, Any]:
    """The statuses are those of View.status. Times are ISO 8601, spans are seconds.

    `start_errors` is why workers did not start, by slot: see start_errors.py.
    """
    if view is None:  # a worker of another master speaks for itself alone
        return {"status": "ready", "pid": os.getpid()}
    service = view.service
    return {
        "status": view.status,
        "ready": view.ready,
        "workers": service.workers,
        "generation": service.generation,
        "master": service.pid,
        "master_stuck_seconds": round(view.master_stuck_seconds, 1),
        "imbalance": round(view.imbalance, 2),
        "requests": view.requests,
        "log_lines_dropped": view.lines_dropped,
        "slots": [describe(view, number, row, start_errors) for number, row in view.rows],
    }


def describe(
    view: View, number: int, row: Row, start_errors: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """One slot as JSON."""
    killed_in = view.killed_in_seconds(row)
    return {
        "slot": number,
        "state": words(State(row.state)),
        "pid": row.pid,
        "since": _iso(row.since),
        "stuck_seconds": round(view.stuck_seconds(row), 1),
        "killed_in_seconds": None if killed_in is None else round(killed_in, 1),
        "requests": row.requests,
        "in_flight": row.in_flight,
        "connections": row.connections,
        "share": round(view.share(row), 3),
        "restarts": row.restarts,
        "failures": failures_in_a_row(row, time.time()),
        "start_error": (start_errors or {}).get(number),
        "rss": row.rss,
        "last_exit": {
            "code": row.exit_code,
            "signal": signal_name(row.exit_code),
            "reason": words(Reason(row.exit_reason)),
            "at": _iso(row.exited_at),
        }
        if row.exited_at
        else None,
    }


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds")


def status_line(view: View) -> str:
    """Such as "4/4 workers ready, 1,234 requests, generation 3"."""
    service, ready = view.service, view.ready
    if service.handover == Phase.ACCEPTED:
        left = len(view.rows)
        workers = _count(left, "worker")
        return f"drains: {workers} left, {_count(view.requests, 'request')}, generation {service.generation}"
    line = (
        f"{ready}/{service.workers} workers ready, {_count(view.requests, 'request')},"
        f" generation {service.generation}"
    )
    if view.status == "ready" or not view.was_ready:
        return line
    return "; ".join([f"{view.status}: {line}", *_causes(view)[:_MOST_CAUSES]])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _causes(view: View) -> list[str]:
    causes = []
    if view.master_stuck_seconds:
        causes.append(f"the master is stuck for {view.master_stuck_seconds:.0f} s")
    for number, row in view.rows:
        if stuck := stuck_sentence(view, row):
            causes.append(f"slot {number} {stuck}")
        elif row.state in (State.BACKING_OFF, State.DEAD, State.STARTING) and row.exit_reason:
            causes.append(f"slot {number} {words(State(row.state))} after {words(Reason(row.exit_reason))}")
    return causes


def stuck_sentence(view: View, row: Row) -> str:
    """Such as "stuck for 12 s, killed in 18 s"; empty while the worker's event loop turns."""
    stuck, killed_in = view.stuck_seconds(row), view.killed_in_seconds(row)
    if not stuck:
        return ""
    return f"stuck for {stuck:.0f} s" + ("" if killed_in is None else f", killed in {killed_in:.0f} s")
