"""Who moved the service to which release, and how it went: a line of JSON for each attempt."""

import json
import os
from pathlib import Path
from typing import Any

from coachman.releases.lock import now, who


def note(path: Path, **facts: Any) -> None:
    """On disk when this returns."""
    line = json.dumps({"at": now(), "who": who(), **facts}) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)
