"""The scoreboard as JSON: what `/readyz` answers and `coachman status --json` prints."""

import os
from datetime import UTC, datetime
from typing import Any

from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Phase, Reason, State, signal_name, words


def readiness(scoreboard: Scoreboard | None) -> dict[str, Any]:
    """ready: serves in full; degraded: some of the wanted workers serve; down: none does.

    handed-over: the next generation serves, and this one answers on connections that it had.
    """
    if scoreboard is None:  # a worker of another master speaks for itself alone
        return {"status": "ready", "pid": os.getpid()}
    service = scoreboard.service
    rows = scoreboard.rows()
    ready = sum(row.state == State.READY for _, row in rows)
    status = "ready" if ready >= service.workers else "degraded" if ready else "down"
    if service.handover == Phase.ACCEPTED:
        status = "handed-over"
    return {
        "status": status,
        "ready": ready,
        "workers": service.workers,
        "generation": service.generation,
        "master": service.pid,
        "requests": service.requests + sum(row.requests for _, row in rows),
        "log_lines_dropped": service.lines_dropped + sum(row.lines_dropped for _, row in rows),
        "slots": [_describe(number, row) for number, row in rows],
    }


def _describe(number: int, row: Row) -> dict[str, Any]:
    """One slot as JSON."""
    return {
        "slot": number,
        "state": words(State(row.state)),
        "pid": row.pid,
        "since": _iso(row.since),
        "requests": row.requests,
        "in_flight": row.in_flight,
        "connections": row.connections,
        "restarts": row.restarts,
        "failures": row.failures,
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


def status_line(scoreboard: Scoreboard) -> str:
    """Such as "4/4 workers ready, 1,234 requests, generation 3"."""
    service, rows = scoreboard.service, scoreboard.rows()
    ready = sum(row.state == State.READY for _, row in rows)
    requests = service.requests + sum(row.requests for _, row in rows)
    if service.handover == Phase.ACCEPTED:
        return f"drains: {len(rows)} workers left, {requests:,} requests, generation {service.generation}"
    line = f"{ready}/{service.workers} workers ready, {requests:,} requests, generation {service.generation}"
    if ready >= service.workers or not scoreboard.was_ready:
        return line
    causes = [
        f"slot {number} {words(State(row.state))} after {words(Reason(row.exit_reason))}"
        for number, row in rows
        if row.state in (State.BACKING_OFF, State.DEAD, State.STARTING) and row.exit_reason
    ]
    return "; ".join([f"{'degraded' if ready else 'down'}: {line}", *causes[:3]])
