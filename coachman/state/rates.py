"""What one second of a slot's worker comes to, by the difference of two readings."""

from typing import Any, NamedTuple

from coachman.state.scoreboard import Row
from coachman.state.traffic_table import Traffic

MEBIBYTE = 1048576


class Reading(NamedTuple):
    """What a slot's worker has counted since its start."""

    row: Row = Row()
    traffic: Traffic = Traffic()

    def baseline(self, before: "Reading") -> "Reading":
        """What `before` has to be, for a difference: a worker that is new in its slot began at zero."""
        return before if before.row.pid == self.row.pid else Reading()


class Rates(NamedTuple):
    """Of one worker in one second."""

    requests: float  # a second
    errors: float  # a second, answered with 4xx
    failures: float  # a second, answered with 5xx
    mean: float | None  # seconds; None where no request was answered
    in_flight: float  # requests, on average
    cpu: float  # cores


def rates(before: Reading, now: Reading, seconds: float) -> Rates:
    """The rates between two readings of one slot, `seconds` apart."""
    before = now.baseline(before)
    requests = max(0, now.row.requests - before.row.requests)
    busy = max(0.0, now.row.busy_seconds - before.row.busy_seconds)
    return Rates(
        requests / seconds,
        max(0.0, now.traffic.errors - before.traffic.errors) / seconds,
        max(0.0, now.traffic.failures - before.traffic.failures) / seconds,
        busy / requests if requests else None,
        _in_flight(before.traffic, now.traffic, now.row),
        max(0.0, now.row.cpu_seconds - before.row.cpu_seconds) / seconds,
    )


def _in_flight(before: Traffic, now: Traffic, row: Row) -> float:
    """The mean since the reading before; what the row says where there are not two readings."""
    if not before.measured_at or now.measured_at <= before.measured_at:
        return float(row.in_flight)
    return max(0.0, now.work - before.work) / (now.measured_at - before.measured_at)


def rounded(found: dict[int, Rates]) -> dict[int, Rates]:
    """As people read them. Sums are made of these, so that a table adds up to the figure above it."""
    total = sum(one.requests for one in found.values())
    digits = 0 if total >= 100 else 1
    return {
        number: Rates(
            round(one.requests, digits),
            round(one.errors, 1),
            round(one.failures, 1),
            one.mean and round(one.mean, 5),
            round(one.in_flight, 1),
            round(one.cpu, 2),
        )
        for number, one in found.items()
    }


def buckets_between(before: Reading, now: Reading) -> tuple[float, ...]:
    """How many requests were answered between two readings of one slot, by duration."""
    pairs = zip(now.baseline(before).traffic.buckets, now.traffic.buckets, strict=True)
    return tuple(max(0.0, later - earlier) for earlier, later in pairs)


def whole_mebibytes(size: int) -> int:
    """Bytes, rounded as they are shown."""
    return round(size / MEBIBYTE) * MEBIBYTE


def totals(found: dict[int, Rates]) -> dict[str, Any]:
    """The sums of what the rows of the table have."""
    requests = sum(one.requests for one in found.values())
    busy = sum((one.mean or 0.0) * one.requests for one in found.values())
    return {
        "requests": round(requests, 1),
        "errors": round(sum(one.errors for one in found.values()), 1),
        "failures": round(sum(one.failures for one in found.values()), 1),
        "busy": round(busy, 4),
        "in_flight": round(sum(one.in_flight for one in found.values()), 1),
    }
