"""`coachman top`: figures from two readings, keys that ask first, and a terminal that is left as it was."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coachman.cli._top_figures import Reading, folded, generations, handover_step
from coachman.cli._top_keys import HELP, Dialog
from coachman.cli._top_screen import Screen
from coachman.state import runtime_dir
from coachman.state.scoreboard import Row, Scoreboard, Service
from coachman.state.states import Phase, Reason, State
from coachman.state.view import View
from tests.support.terminal import Terminal, at_terminal

ROOT = Path(__file__).parents[3]
KILL_1 = "Kill the worker in slot (0, 1): 1_  (Enter kills it, Esc goes back)"
MASTER, FIRST = 4_194_000, 4_194_100  # pids as large as Linux makes them


def row(slot: int, now: float, **changes: Any) -> Row:
    return Row(state=State.READY, pid=FIRST + slot, beat=now, ready_at=1.0, rss=56 * 2**20)._replace(
        **changes
    )


def view(now: float, *rows: Row, **service: Any) -> View:
    told = Service(pid=MASTER, workers=len(rows), slots=len(rows))._replace(**service)
    return View(told, list(enumerate(rows)), True, now)


def readings() -> tuple[Reading, Reading]:
    """A second of a service of three: one works, one has a blocked event loop, one backs off."""
    before = view(10, row(0, 10, requests=100, busy_seconds=1.0), row(1, 9), row(2, 10))
    after = view(
        11,
        row(0, 11, requests=140, busy_seconds=1.2, in_flight=3),
        row(1, 9, in_flight=2)._replace(beat=8),
        Row(state=State.BACKING_OFF, exit_reason=Reason.BOOT_FAILED, exit_code=1, exited_at=time.time()),
    )
    return Reading((before,), {FIRST: 5.0, FIRST + 1: 1.0}), Reading((after,), {FIRST: 5.62, FIRST + 1: 2.0})


# Figures


def test_figures_are_of_the_time_between_two_readings() -> None:
    before, after = readings()

    [found] = generations(after, before)

    works, blocked, absent = found.slots
    assert (works.cpu, works.rate, works.in_flight) == (62, 40.0, 3)
    assert works.mean_ms == pytest.approx(5)
    assert (blocked.state, blocked.cpu, blocked.rate, blocked.in_flight) == ("stuck 3 s", 100, None, 2)
    assert (absent.state, absent.cpu, absent.rate, absent.in_flight) == ("backing-off", None, None, None)
    assert (found.cpu, found.rate, found.in_flight) == (162, 40.0, 5)
    assert found.mean_ms == pytest.approx(5)


def test_without_an_earlier_reading_no_rate_is_told() -> None:
    [found] = generations(readings()[1], None)

    assert (found.rate, found.cpu, found.mean_ms, found.in_flight) == (None, None, None, 5)


def test_a_worker_that_is_new_in_its_slot_has_no_rate_yet() -> None:
    before = Reading((view(10, row(0, 10, requests=100)),), {})
    after = Reading((view(11, row(7, 11, requests=3)),), {})

    assert generations(after, before)[0].slots[0].rate is None


@pytest.mark.parametrize("requests", [(1, 1, 1), (1234, 77, 3)])
def test_the_rows_as_they_are_rounded_add_up_to_the_sum(requests: tuple[int, ...]) -> None:
    before = Reading((view(10, *(row(slot, 10) for slot in range(3))),), {})
    rows = [row(slot, 13.01, requests=count) for slot, count in enumerate(requests)]
    [found] = generations(Reading((view(13.01, *rows),), {}), before)

    assert found.rate == pytest.approx(sum(slot.rate or 0 for slot in found.slots), abs=1e-9)


def test_a_handover_is_told_step_by_step() -> None:
    old, new = view(1, row(0, 1)), view(1, row(1, 1), generation=2, pid=MASTER + 1)
    starting = new._replace(was_ready=False)

    def in_phase(phase: Phase) -> View:
        return old._replace(service=old.service._replace(handover=phase))

    assert handover_step((old,)) == ""
    assert "1 of 4" in handover_step((in_phase(Phase.UNDER_WAY),))
    assert "2 of 4" in handover_step((starting, in_phase(Phase.UNDER_WAY)))
    assert "3 of 4" in handover_step((new, in_phase(Phase.UNDER_WAY)))
    assert "4 of 4" in handover_step((new, in_phase(Phase.ACCEPTED)))
    assert "refused" in handover_step((new, in_phase(Phase.REFUSING)))
    assert handover_step((in_phase(Phase.REFUSED),)) == ""


def test_repeated_events_are_one_line() -> None:
    failed = {"event": "boot-failed", "slot": 1, "generation": 1, "time": 2.0}
    events = [failed | {"time": 9.0}, failed, failed, failed | {"slot": 2}, {"event": "started", "time": 1.0}]

    assert [(one.event["time"], one.times) for one in folded(events)] == [(9.0, 3), (2.0, 1), (1.0, 1)]


# Keys


def pressed(keys: str, now: Reading) -> tuple[Dialog, Any]:
    dialog = Dialog()
    order = None
    for key in keys:
        order = dialog.press(key, now)
    return dialog, order


def serving(**service: Any) -> Reading:
    return Reading((view(1, row(0, 1), row(1, 1), **service),), {})


@pytest.mark.parametrize(
    ("keys", "question", "pid", "signum"),
    [
        ("+", "Scale from 2 to 3? y/n", MASTER, signal.SIGTTIN),
        ("-", "Scale from 2 to 1? y/n", MASTER, signal.SIGTTOU),
        ("h", "Hand over to the release that is there now? y/n", MASTER, signal.SIGUSR2),
        (
            "k1",
            "Kill the worker in slot (0, 1): 1_  (Enter kills it, Esc goes back)",
            FIRST + 1,
            signal.SIGKILL,
        ),
    ],
)
def test_each_key_asks_before_anything_is_done(keys: str, question: str, pid: int, signum: int) -> None:
    dialog, order = pressed(keys, serving())
    assert (dialog.line, order) == (question, None)

    order = dialog.press("\r" if keys[0] == "k" else "y", serving())
    assert order is not None
    assert (order.pid, order.signum, dialog.line) == (pid, signum, HELP)


@pytest.mark.parametrize("keys", ["+n", "h\x1b", "k1\x1b", "k\r", "-q", "x"])
def test_any_other_answer_does_nothing(keys: str) -> None:
    dialog, order = pressed(keys, serving())

    assert (dialog.line, order) == (HELP, None)


def test_a_slot_is_typed_and_mended() -> None:
    assert pressed("k7\x7f0\r", serving())[1].pid == FIRST
    assert pressed("k7\r", serving())[0].line == "No worker serves in slot 7. Nothing was killed."


@pytest.mark.parametrize(
    ("key", "service", "sentence"),
    [
        ("h", {"handover": Phase.UNDER_WAY}, "A handover is under way."),
        ("+", {"handover": Phase.UNDER_WAY}, "A handover is under way."),
        ("+", {"workers": 256}, "256 workers are the most."),
        ("-", {"workers": 1}, "One worker is the least;"),
        ("k", {"pid": FIRST}, f"Process {FIRST} serves without a master"),
        ("h", {"pid": 1}, "This master is the first process of its container"),
    ],
)
def test_what_cannot_be_done_is_told_at_once(key: str, service: dict[str, Any], sentence: str) -> None:
    dialog, order = pressed(key, serving(**service))

    assert order is None
    assert dialog.line.startswith(sentence)


def test_orders_go_to_the_generation_that_speaks_for_the_service() -> None:
    new = view(1, row(5, 1), generation=2, pid=MASTER + 1)
    old = view(1, row(0, 1), handover=Phase.UNDER_WAY)
    assert pressed("k0\r", Reading((new, old), {}))[1].pid == FIRST

    old = old._replace(service=old.service._replace(handover=Phase.ACCEPTED))
    assert pressed("hy", Reading((new, old), {}))[1].pid == MASTER + 1


# The screen


def lines(width: int, height: int = 24, *, many: int = 0, **second: float | None) -> list[str]:
    before, after = readings()
    if many:
        after = Reading((view(11, *(row(slot, 11) for slot in range(many))),), {})
    message = (
        "Worker in slot 2 (pid 4194102) exited with code 1 before it was ready (failed start 7 of this slot)"
    )
    events = [{"time": time.time(), "event": "boot-failed", "slot": 2, "level": "error", "message": message}]
    screen = Screen(after, before, events, [{"requests": 40.0, **second}] * 90, 2, HELP)
    return [line.plain for line in screen.lines(width, height)]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_state_pid_and_bars_are_whole_at_any_width(width: int) -> None:
    drawn = lines(width)

    assert (len(drawn), max(map(len, drawn)) <= width) == (24, True), "\n".join(drawn)
    for slot, state, pid in ((0, "ready", FIRST), (1, "stuck 3 s", FIRST + 1), (2, "backing-off", "-")):
        row = re.compile(rf" +{slot}  {state} +{pid}  \[[| ]+\] +(\d+%|-) +\[[| ]+\] +(\d+|-)")
        assert any(map(row.match, drawn)), "\n".join(drawn)
    assert drawn[1].startswith("40 requests/s, mean 5.0 ms, 5 in flight, CPU 1.62 of 2"), drawn[1]
    assert drawn[-1].startswith(HELP)


def test_percentiles_and_errors_are_shown_where_the_service_counts_them() -> None:
    counted = {"p50": 0.0021, "p95": 0.0184, "p99": 0.25, "errors": 1.5, "failures": 0.0}
    assert lines(60, **counted)[2] == "p50 2.1 ms, p95 18.4 ms, p99 250.0 ms, 1.5 4xx/s, 0.0 5xx/s"
    assert lines(60, **(counted | {"p50": None, "p95": None, "p99": None}))[2] == "1.5 4xx/s, 0.0 5xx/s"
    assert "40/s" in lines(60)[2]


def test_more_slots_than_lines_leave_room_for_what_happens() -> None:
    drawn = lines(80, many=64)

    assert len(drawn) == 24
    assert any(re.match(r"\.\.\. and \d+ more: a taller window shows them", line) for line in drawn), drawn
    assert any("exited with code 1" in line for line in drawn), drawn


# The terminal


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The runtime directory of a service of which this process is the master."""
    scoreboard = runtime_dir.publish(tmp_path, os.getpid())
    fill(scoreboard)
    yield tmp_path
    runtime_dir.withdraw(tmp_path, os.getpid())


def fill(scoreboard: Scoreboard) -> None:
    scoreboard.update_service(pid=os.getpid(), workers=2, slots=2)
    for number in range(2):
        scoreboard.slots[number].write(row(number, time.monotonic() + 600))


def top(folder: Path) -> Any:
    environment = {"COACHMAN_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return at_terminal([sys.executable, "-m", "coachman", "top"], cwd=ROOT, environment=environment)


def assert_restored(terminal: Terminal, before: list[Any]) -> None:
    assert terminal.mode() == before
    assert terminal.shown.count("\x1b[?1049h") == terminal.shown.count("\x1b[?1049l") == 1, terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l"), "the cursor is hidden"
    assert "Traceback" not in terminal.shown, terminal.shown


@pytest.mark.parametrize(
    ("how", "code"), [("q", 0), ("\x03", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_terminal_is_left_as_it_was(folder: Path, how: str | int, code: int) -> None:
    with top(folder) as terminal:
        before = terminal.mode()
        terminal.wait_for(r"2/2 workers ready")
        terminal.wait_for(re.escape(HELP))
        if isinstance(how, str):
            terminal.press(how)
        else:
            terminal.process.send_signal(how)

        assert terminal.wait_end() == code, terminal.shown
        assert_restored(terminal, before)


def test_the_last_picture_stays_when_the_service_has_ended(folder: Path) -> None:
    with top(folder) as terminal:
        terminal.wait_for(r"2/2 workers ready")
        runtime_dir.withdraw(folder, os.getpid())
        terminal.wait_for(r"The service has ended at \d\d:\d\d:\d\d; waiting for the next one")
        terminal.press("q")
        assert terminal.wait_end() == 0


def test_without_a_terminal_it_says_what_to_use_instead(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coachman", "top"],
        cwd=ROOT,
        env={"COACHMAN_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "coachman status --watch --json" in done.stderr
