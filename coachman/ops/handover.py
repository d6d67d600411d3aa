"""How far a handover is, by what both masters have left in the runtime directory. Runs in a worker."""

import contextlib
import os
from pathlib import Path
from typing import Any

from coachman.state import runtime_dir
from coachman.state.scoreboard import Scoreboard
from coachman.state.states import Phase
from coachman.state.view import View

STEPS = ("checked", "loaded", "started", "proven", "drained")


def other_views(folder: Path, own: Scoreboard) -> list[View]:
    """Those of the other masters in the folder: while one takes over from the other there is one."""
    if own.is_without_master:  # it would have to read its own, and lose the lock on it
        return []
    name = runtime_dir.path_of(folder, own.service.pid).name
    found = []
    with contextlib.suppress(OSError):
        for other in os.listdir(folder):  # noqa: PTH208 - names alone, once a second
            pid = other.removeprefix("scoreboard.")
            if other != name and pid != other and pid.isdigit():
                with contextlib.suppress(OSError, runtime_dir.OtherLayoutError):
                    board = runtime_dir.scoreboard_of(folder, int(pid))
                    if board is not None and board.service.pid:
                        found.append(View.of(board))
    return found


def progress(views: list[View]) -> dict[str, Any] | None:
    """The step that is under way, of STEPS by number, or None without a handover.

    `views`: of the generations that there are, the oldest first.
    """
    old, new = views[0], views[-1] if len(views) > 1 else None
    phase = old.service.handover
    if phase in (Phase.NONE, Phase.REFUSED):
        return None
    if phase == Phase.ACCEPTED:
        step = 4
    elif new is None:
        step = 0 if _is_checking(old) else 1
    else:
        step = 3 if new.was_ready else 2
    return {"steps": STEPS, "step": step, "refused": phase == Phase.REFUSING}


def _is_checking(old: View) -> bool:
    """Whether the fork that is to become the next master still waits for its check, a child of its own."""
    workers = {row.pid for _, row in old.rows}
    return any(_children(pid) for pid in _children(old.service.pid) if pid not in workers)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
