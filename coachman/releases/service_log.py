"""What the processes of a service have written to the journal, whatever the application does to logging."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coachman.releases.command import run

_LINES = 30
_READ_LINES = 2000  # among which those of the generation that serves are left out
_HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


def processes(unit: str) -> frozenset[str]:
    """Returns the numbers of the processes that a unit has now."""
    group = run("systemctl", "show", "--value", "--property=ControlGroup", unit).stdout.strip()
    for hierarchy in _HIERARCHIES if group else ():
        with contextlib.suppress(OSError):
            return frozenset(Path(f"{hierarchy}{group}", "cgroup.procs").read_text().split())
    return frozenset()


def said_since(unit: str, began: float, others: frozenset[str]) -> str:
    """Returns the last lines that a unit's processes have written since `began`, less those of `others`."""
    journal = run(
        *("journalctl", "--unit", unit, "--output=json", "--output-fields=MESSAGE,_PID", "--no-pager"),
        *(f"--since=@{int(began)}", "-n", str(_READ_LINES)),
    )
    return "\n".join(last_of(journal.stdout.splitlines(), others))


def last_of(entries: Iterable[str], others: frozenset[str]) -> list[str]:
    """Returns the last lines of a journal in JSON that are by none of the processes `others`."""
    found = []
    for entry in entries:
        with contextlib.suppress(ValueError):
            fields = json.loads(entry)
            if fields.get("_PID") not in others:
                found.append(_text(fields.get("MESSAGE")))
    return found[-_LINES:]


def _text(message: Any) -> str:
    if isinstance(message, list):  # of bytes that are no text
        return bytes(message).decode(errors="replace")
    text = str(message or "")
    try:
        line = json.loads(text)
        said = f"[{line['level'].upper()}] {line['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):  # a line that is not of ours
        return text
    return "\n".join([said, *([line["exception"]] if "exception" in line else [])])
