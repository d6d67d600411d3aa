"""What `coachman top` shows: figures from two readings of the scoreboards, as plain values."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from coachman.state.scoreboard import Row
from coachman.state.states import Phase, State, words
from coachman.state.view import View

Figure = TypeVar("Figure", int, float)
WHOLE_ABOVE = 100.0  # requests a second of a generation from which nobody reads a decimal


class Reading(NamedTuple):
    """All that is read at one moment."""

    views: tuple[View, ...]  # of the living generations, the newest first
    cpu: Mapping[int, float]  # by pid: the seconds of CPU that the process has used

    @property
    def speaker(self) -> View:
        """The generation that speaks for the service: the older one, until it has handed over."""
        serving = (view for view in reversed(self.views) if view.service.handover != Phase.ACCEPTED)
        return next(serving, self.views[0])


class Slot(NamedTuple):
    """One row. None stands for what is not known, as of a slot without a worker."""

    number: int
    row: Row
    state: str
    cpu: int | None = None  # percent of one CPU
    rate: float | None = None  # requests a second
    mean_ms: float | None = None  # of the requests that have ended between the two readings

    @property
    def in_flight(self) -> int | None:
        return self.row.in_flight if self.row.pid else None


class Generation(NamedTuple):
    """The rows of one generation and their sums."""

    view: View
    slots: list[Slot]
    rate: float | None
    mean_ms: float | None
    in_flight: int
    cpu: int | None  # percent of one CPU

    @classmethod
    def of(cls, view: View, now: Reading, before: Reading | None) -> Self:
        """The sums are those of the rounded rows: what is shown adds up."""
        earlier = _rows_by_pid(before)
        slots = [_slot(view, number, row, now, before, earlier) for number, row in view.rows]
        digits = 0 if (total([slot.rate for slot in slots]) or 0.0) >= WHOLE_ABOVE else 1
        slots = [_rounded(slot, digits) for slot in slots]
        rate = total([slot.rate for slot in slots])
        used = [(row, earlier[row.pid]) for _, row in view.rows if row.pid in earlier]
        return cls(
            view,
            slots,
            rate=None if rate is None else round(rate, digits),
            mean_ms=_mean_ms(used),
            in_flight=sum(slot.in_flight or 0 for slot in slots),
            cpu=total([slot.cpu for slot in slots]),
        )

    @property
    def most_in_flight(self) -> int:
        return max((slot.in_flight or 0 for slot in self.slots), default=0)


def total(figures: Sequence[Figure | None]) -> Figure | None:
    """The sum of what is known; None where nothing is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


def generations(now: Reading, before: Reading | None) -> list[Generation]:
    """The figures of each living generation, the newest first. Without `before` no rate is known."""
    return [Generation.of(view, now, before) for view in now.views]


def handover_step(views: tuple[View, ...]) -> str:
    """How far a handover is, such as "3 of 4: both generations serve, the new one on probation"."""
    old = views[-1].service
    new = views[0] if len(views) > 1 else None
    match Phase(old.handover):
        case Phase.REFUSING:
            return "The handover is refused; the new generation is being ended"
        case Phase.UNDER_WAY if new is None:
            return "Handover, 1 of 4: the new release is checked and loaded"
        case Phase.UNDER_WAY if new is not None and not new.was_ready:
            return f"Handover, 2 of 4: master {new.service.pid} starts its workers"
        case Phase.UNDER_WAY:
            return "Handover, 3 of 4: both generations serve, the new one on probation"
        case Phase.ACCEPTED if new is not None:
            return "Handover, 4 of 4: the new generation serves, the old one drains"
    return ""


class Happening(NamedTuple):
    """An event, or several of the same kind in a slot, one after the other."""

    event: dict[str, Any]  # the newest of them
    times: int


def folded(events: list[dict[str, Any]]) -> list[Happening]:
    """The newest first, as they are given; a worker that fails to start again and again is one line."""
    found: list[Happening] = []
    for event in events:
        if found and _kind(found[-1].event) == _kind(event):
            found[-1] = found[-1]._replace(times=found[-1].times + 1)
        else:
            found.append(Happening(event, 1))
    return found


def _kind(event: dict[str, Any]) -> tuple[Any, ...]:
    return event.get("event"), event.get("slot"), event.get("generation")


def _rows_by_pid(reading: Reading | None) -> dict[int, Row]:
    views = reading.views if reading is not None else ()
    return {row.pid: row for view in views for _, row in view.rows if row.pid}


def _slot(
    view: View, number: int, row: Row, now: Reading, before: Reading | None, earlier: Mapping[int, Row]
) -> Slot:
    stuck = view.stuck_seconds(row)
    slot = Slot(number, row, f"stuck {stuck:.0f} s" if stuck else words(State(row.state)))
    then = earlier.get(row.pid)
    if before is None or then is None:
        return slot
    return slot._replace(
        cpu=_cpu(row.pid, now, before), rate=_rate(row, then), mean_ms=_mean_ms([(row, then)])
    )


def _cpu(pid: int, now: Reading, before: Reading) -> int | None:
    """By the operating system, which knows it of a blocked worker too."""
    seconds = now.views[0].now - before.views[0].now
    if pid not in now.cpu or pid not in before.cpu or seconds <= 0:
        return None
    return round(100 * max(0.0, now.cpu[pid] - before.cpu[pid]) / seconds)


def _rate(row: Row, then: Row) -> float | None:
    """None where the worker has not told anything new: its event loop is blocked."""
    seconds = row.beat - then.beat
    return (row.requests - then.requests) / seconds if seconds > 0 else None


def _mean_ms(pairs: list[tuple[Row, Row]]) -> float | None:
    requests = sum(row.requests - then.requests for row, then in pairs)
    busy = sum(row.busy_seconds - then.busy_seconds for row, then in pairs)
    return 1000 * busy / requests if requests > 0 else None


def _rounded(slot: Slot, digits: int) -> Slot:
    return slot if slot.rate is None else slot._replace(rate=round(slot.rate, digits))
