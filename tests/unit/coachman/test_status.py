"""`coachman status` in a real terminal of 60, 80 and 120 columns, of a service that is in trouble."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coachman.cli._slot_table import columns_that_fit
from coachman.cli.status import start_failures
from coachman.state import runtime_dir
from coachman.state.scoreboard import Row, Scoreboard
from coachman.state.states import Reason, State
from tests.support.terminal import at_terminal

ROOT = Path(__file__).parents[3]
PID = 4_194_304  # as large as Linux makes them
STATES = {0: "ready", 1: "backing-off", 2: "draining", 3: "starting"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The runtime directory of a service of which this process is the master."""
    scoreboard = runtime_dir.publish(tmp_path, os.getpid())
    fill(scoreboard)
    yield tmp_path
    runtime_dir.withdraw(tmp_path, os.getpid())


def fill(scoreboard: Scoreboard) -> None:
    now = time.time()
    crashed = {"exit_code": -9, "exit_reason": Reason.CRASHED, "exited_at": now - 126, "restarts": 12}
    works = {"requests": 1_234_567, "in_flight": 12, "connections": 345, "rss": 300 * 2**20}
    scoreboard.update_service(pid=os.getpid(), workers=4, slots=4, requests=1000)
    for number, state in enumerate((State.READY, State.BACKING_OFF, State.DRAINING, State.STARTING)):
        row = Row(state=state, pid=PID + number, since=now - 3 * 3600 - 720, beat=time.monotonic() + 60)
        if state == State.BACKING_OFF:
            row = row._replace(
                pid=0, exit_reason=Reason.BOOT_FAILED, exit_code=1, exited_at=now - 5, failures=7
            )
        else:
            row = row._replace(**works, **crashed)
        scoreboard.slots[number].write(row)


def status(folder: Path, columns: int | None) -> str:
    """What the command prints at a terminal so wide; through a pipe for None."""
    environment = {"COACHMAN_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"], "TERM": "xterm"}
    command = [sys.executable, "-m", "coachman", "status"]
    if columns is None:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, done
        return done.stdout
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    printed = b""
    try:
        while part := _read(screen):
            printed += part
        assert process.wait(120) == 1, printed
    finally:
        os.close(screen)
        process.kill()
        process.wait()
    return printed.decode().replace("\r\n", "\n")


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 4096)
    except OSError:  # EIO: the command has ended, and nobody else has the terminal open
        return b""


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [60, 80, 120, None])
def test_slot_state_and_pid_are_shown_whole_at_any_width(folder: Path, columns: int | None) -> None:
    text = status(folder, columns)

    lines = plain(text).splitlines()
    assert max(map(len, lines)) <= (columns or 1000), text
    for number, state in STATES.items():
        pid = "-" if number == 1 else str(PID + number)
        row = re.compile(rf" +{number}  {state} +{pid}  +3 h 12 min ")
        assert any(map(row.match, lines)), text
    heading = next(line for line in lines if line.startswith("slot"))
    last = {60: "in flight", 80: "memory", 120: "last exit", None: "share"}[columns]
    assert heading.rstrip().endswith(last), text
    is_whole = re.search(r"crashed \(SIGKILL\) 2 min \d+ s ago", text) is not None
    assert is_whole == (columns in (120, None)), text


def test_watching_says_on_the_screen_that_stays_that_the_service_has_ended(folder: Path) -> None:
    environment = {"COACHMAN_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "coachman", "status", "--watch"]
    with at_terminal(command, cwd=ROOT, environment=environment) as terminal:
        terminal.wait_for(r"1/4 workers ready")
        runtime_dir.withdraw(folder, os.getpid())
        assert terminal.wait_end() == 3, terminal.shown

    assert terminal.shown.rpartition("\x1b[?1049l")[2].strip().endswith("The service has ended.")


def test_states_have_colours_at_a_terminal_alone(folder: Path) -> None:
    assert "\x1b[32mready" in status(folder, 120)
    assert "\x1b[31mbacking-off" in status(folder, 120)
    assert "\x1b" not in status(folder, None)


def test_the_requests_of_the_rows_add_up_to_those_of_the_line_above(folder: Path) -> None:
    text = status(folder, None)

    total = re.search(r"([\d,]+) requests", text)
    rows = re.findall(r"^ +(?:\d .*? min|ended) +([\d,]+)", text, re.MULTILINE)
    assert total is not None, text
    assert rows == ["1,234,567", "1,234,567", "1,234,567", "1,000"], text
    assert sum(int(row.replace(",", "")) for row in rows) == int(total[1].replace(",", "")), text


def test_the_reason_of_a_failed_start_is_told_once_for_the_slots_that_have_it() -> None:
    errors = {3: "no room", 2: "no broker (main.py:5)", 0: "no broker (main.py:5)"}

    assert start_failures(errors) == ["slots 0, 2: no broker (main.py:5)", "slot 3: no room"]


@pytest.mark.parametrize(
    ("room", "shown"), [(10, 3), (18, 3), (19, 3), (25, 4), (38, 4), (39, 5), (47, 5), (100, 5)]
)
def test_the_last_columns_give_way(room: int, shown: int) -> None:
    assert columns_that_fit([4, 5, 5, 5, 20], room, 4) == shown
