"""`coachman kill-worker`: kills one worker, and shows how it is replaced."""

import json
import random
import signal as signals
import sys
import time
from enum import StrEnum
from typing import Annotated

import typer

from coachman.cli._service import fail, find_master, folder_of_services, signal_process
from coachman.state import events
from coachman.state.scoreboard import Row, Scoreboard, Slot
from coachman.state.states import State

POLL_SECONDS = 0.001


class Signal(StrEnum):
    KILL = "KILL"
    STOP = "STOP"
    ABRT = "ABRT"


def kill_worker(
    slot: Annotated[int | None, typer.Argument(help="The slot of the worker to kill.")] = None,
    is_any: Annotated[bool, typer.Option("--any", help="Kill a random one, without asking.")] = False,
    signal: Annotated[
        Signal, typer.Option(help="KILL: a crash; STOP: a hang; ABRT: a crash that logs its stacks.")
    ] = Signal.KILL,
    wait_seconds: Annotated[
        float, typer.Option("--wait", help="How long the replacement may take, in seconds.")
    ] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Kill one worker and print how fast it is replaced.

    The times are those of its end (reaped), of the fork of the next one, and of when that serves. Without a
    slot it picks a random worker and asks first.
    """
    scoreboard = find_master("nobody here would replace it, and nothing was killed")
    victim, before = _choose(scoreboard, slot, is_any=is_any)
    killed_at, killed_at_monotonic = time.time(), time.monotonic()
    signal_process(before.pid, signals.Signals[f"SIG{signal}"], "The worker")
    after = _wait_for_successor(victim, before, wait_seconds)
    report = {
        "slot": victim.number,
        "signal": f"SIG{signal}",
        "pid": before.pid,
        "successor": after.pid,
        "killed_at": killed_at_monotonic,  # for those who time requests by the same clock
        "reaped_ms": _ms(after.exited_at - killed_at),
        "forked_ms": _ms(after.forked_at - killed_at),
        "ready_ms": _ms(after.since - killed_at),
        "requests_lost": _requests_lost(before),
    }
    print(json.dumps(report) if as_json else _timeline(report))


def _choose(scoreboard: Scoreboard, number: int | None, *, is_any: bool) -> tuple[Slot, Row]:
    ready = {number: row for number, row in scoreboard.rows() if row.state == State.READY}
    if not ready:
        fail("No worker serves; `coachman status` says why. Nothing was killed.")
    if number is None:
        number = random.choice(list(ready))  # noqa: S311
        if not is_any:
            _confirm(number, ready[number])
    elif number not in ready:
        fail(
            f"No worker serves in slot {number}; some do in {', '.join(map(str, ready))}. Nothing was killed."
        )
    return scoreboard.slots[number], ready[number]


def _confirm(number: int, row: Row) -> None:
    if not sys.stdin.isatty():
        fail("Which worker? Name its slot, or say --any for a random one. Nothing was killed.")
    if not typer.confirm(f"Kill the worker in slot {number} (pid {row.pid}, {row.in_flight} in flight)?"):
        fail("Nothing was killed.")


def _wait_for_successor(slot: Slot, before: Row, seconds: float) -> Row:
    deadline = time.monotonic() + seconds
    while (row := slot.read()).state != State.READY or row.pid == before.pid:
        if time.monotonic() > deadline:
            hint = (
                " A stopped worker is replaced after COACHMAN_HANG_SECONDS." if row.pid == before.pid else ""
            )
            fail(
                f"Slot {slot.number} has no new worker after {seconds:g} s;"
                f" `coachman status` shows what it does.{hint}"
            )
        time.sleep(POLL_SECONDS)
    return row


def _requests_lost(before: Row) -> int:
    """Returns the master's bound: it knows of connections that the worker's last row does not."""
    for event in events.latest(folder_of_services()):
        if event.get("ended_pid") == before.pid:
            return int(event["requests_lost_at_most"])
    return max(before.in_flight, before.connections)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _timeline(report: dict[str, object]) -> str:
    return "\n".join(
        [
            f"{0:>9.1f} ms  {report['signal']} to the worker in slot {report['slot']} (pid {report['pid']})",
            f"{report['reaped_ms']:>9.1f} ms  reaped by the master",
            f"{report['forked_ms']:>9.1f} ms  the next one forked",
            f"{report['ready_ms']:>9.1f} ms  it serves (pid {report['successor']})",
            f"Requests lost: at most {report['requests_lost']}, one on each connection that the worker had.",
        ]
    )
