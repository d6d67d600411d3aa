"""`coachman top`: the service live, slot by slot, with keys to kill, scale and hand over."""

import collections
import os
import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from coachman.cli._service import fail, find_services, folder_of_services
from coachman.cli._terminal import Keys, keys
from coachman.cli._top_figures import Reading
from coachman.cli._top_keys import Dialog, Order
from coachman.cli._top_screen import Screen
from coachman.state import events, history
from coachman.state.runtime_dir import OtherLayoutError, scoreboards
from coachman.state.view import View
from coachman.system.process import is_stopped

REFRESH_SECONDS = 0.5
WINDOW = 3  # readings: rates are those of the last second
QUIT = ("q", "Q")


def top() -> None:
    """Watch the service live: CPU and requests in flight of each slot, rates, and what happens.

    Keys: k kills a worker, + and - change the number of workers, h hands over to the present release; each
    asks first. q or Ctrl-C quits.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("`coachman top` draws on a terminal; through a pipe: coachman status --watch --json")
    services, folder = find_services(), folder_of_services()
    console = Console()
    live = Live(console=console, auto_refresh=False, screen=True, transient=True)
    try:
        with keys() as pressed:
            try:
                live.start()
                _Top(folder, _reading([View.of(one) for one in services]), live).run(pressed)
            finally:
                live.stop()
    except KeyboardInterrupt:
        return


class _Top:
    def __init__(self, folder: Path, first: Reading, live: Live) -> None:
        self._folder, self._live = folder, live
        self._readings = collections.deque([first], maxlen=WINDOW)
        self._dialog = Dialog()
        self._ended_at = ""

    def run(self, pressed: Keys) -> None:
        """Until somebody quits."""
        while True:
            self._draw()
            due = time.monotonic() + REFRESH_SECONDS
            while (left := due - time.monotonic()) > 0:
                for key in pressed.wait(left):
                    if key in QUIT:
                        return
                    if order := self._dialog.press(key, self._readings[-1]):
                        self._dialog.said = _send(order)
                    self._draw()
            self._read()

    def _read(self) -> None:
        """Keeps the last picture of a service that has ended: the next one may come at any moment."""
        try:
            views = [View.of(one) for one in scoreboards(self._folder)]
        except (OSError, OtherLayoutError):
            views = []
        if views:
            self._readings.append(_reading(views))
            self._ended_at = ""
        else:
            self._ended_at = self._ended_at or time.strftime("%H:%M:%S")

    def _draw(self) -> None:
        seconds = history.latest(self._folder, time.time() - 60)
        ended = f"The service has ended at {self._ended_at}; waiting for the next one. q quits"
        screen = Screen(
            self._readings[-1],
            self._readings[0] if len(self._readings) > 1 else None,
            events.latest(self._folder),
            seconds,
            len(os.sched_getaffinity(0)),
            ended if self._ended_at else self._dialog.line,
        )
        width, height = self._live.console.size
        self._live.update(Group(*screen.lines(width, height)), refresh=True)


def _reading(views: list[View]) -> Reading:
    pids = [row.pid for view in views for _, row in view.rows if row.pid]
    return Reading(tuple(views), {pid: used for pid in pids if (used := _cpu_seconds(pid)) is not None})


def _cpu_seconds(pid: int) -> float | None:
    """None where the process has just ended, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _send(order: Order) -> str:
    """Returns what to say of it, in one sentence."""
    if is_stopped(order.pid):
        return f"Process {order.pid} was stopped (SIGSTOP). Nothing was asked of it. kill -CONT {order.pid}"
    try:
        os.kill(order.pid, order.signum)
    except PermissionError:
        return f"Process {order.pid} belongs to another user: run this as root or as that user."
    except ProcessLookupError:
        return f"Process {order.pid} has just ended: try again."
    return f"{order.done}."
