"""What `coachman handover` prints while the masters work: each step, when it is first seen."""

import time
from pathlib import Path

import typer

from coachman.state import events
from coachman.state.scoreboard import Row, Scoreboard, Service
from coachman.state.states import Reason
from coachman.state.view import View

READ_SECONDS = 0.5
MOST_EVENTS = 2 * events.RECORDS  # of both generations, all that there are


class Progress:
    """Prints steps with the seconds since the beginning, as `coachman release` does.

    `is_quiet`: under systemd, whose journal has the master's own lines, only the outcome is printed.
    """

    def __init__(self, old: Scoreboard, folder: Path, *, is_quiet: bool) -> None:
        """`folder` is the runtime directory of both generations."""
        self._old, self._folder, self._is_quiet = old, folder, is_quiet
        self._new: Scoreboard | None = None
        self._began, self._began_at = time.monotonic(), time.time()
        self._ends: dict[tuple[int, int], int] = {}  # by event: how many requests a worker's end has lost
        self._read_at = 0.0
        self._requests_before = View.of(old).requests
        self._said: set[str] = set()
        self._rows: dict[int, Row] = {}  # of the old generation, while its workers drain

    def begun(self) -> None:
        """Called once the master has begun the handover."""
        self._step("The new release is checked and loaded")

    def look(self, new: Scoreboard | None) -> None:
        """Prints what is new. `new` is the next generation's scoreboard, once there is one."""
        self._rows |= {number: row for number, row in self._old.rows() if row.pid}
        if time.monotonic() - self._read_at > READ_SECONDS:
            self._read_ends()
        if new is None:
            return
        self._new = new
        view = View.of(new)
        service = view.service
        self._step(f"Master {service.pid} starts {_workers(service.workers)}")
        if view.was_ready:
            self._step("They serve, on probation beside the old ones")

    def accepted(self, old: Service) -> None:
        """Prints the outcome."""
        line = f"Generation {old.generation + 1} serves (master {old.successor}); the one before drains."
        if self._is_quiet:
            typer.echo(line)
        else:
            self._step(line)

    def ended(self) -> None:
        """Prints the totals, which the old generation has left in the shared memory."""
        passed = View.of(self._old).requests - self._requests_before
        if self._new is not None:
            passed += View.of(self._new).requests
        service = self._old.service
        ends = [self._old.slots[number].read().exit_reason for number in self._rows]
        killed = sum(reason == Reason.DRAIN_TIMEOUT for reason in ends)
        how = f"{_workers(killed)} killed at the end of the drain" if killed else "no worker was killed"
        answered = "1 request was" if passed == 1 else f"{passed:,} requests were"
        lost = self.most_lost()
        told = f"at most {lost:,} lost" if lost else "none lost"
        self._step(f"Generation {service.generation} has ended: {how}")
        self._step(f"{answered} answered meanwhile, {told}")

    def most_lost(self) -> int:
        """A bound of the requests that have ended with workers of both generations since the beginning."""
        self._read_ends()
        return sum(self._ends.values())

    def _read_ends(self) -> None:
        self._read_at = time.monotonic()
        for event in events.latest(self._folder, MOST_EVENTS):
            if event["time"] >= self._began_at and "requests_lost_at_most" in event:
                self._ends[event["generation"], event["n"]] = int(event["requests_lost_at_most"])

    def _step(self, text: str) -> None:
        if not self._is_quiet and text not in self._said:
            self._said.add(text)
            typer.echo(f"{time.monotonic() - self._began:7.1f} s  {text}")


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
