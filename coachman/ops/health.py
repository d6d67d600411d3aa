"""`/livez` and `/readyz`, asked by people, proxies and orchestrators."""

import os
from pathlib import Path

from coachman.ops.responses import Response, json_response
from coachman.state import start_errors
from coachman.state.readiness import readiness
from coachman.state.scoreboard import Scoreboard
from coachman.state.view import View

STATUS_CODES = {"ready": 200, "handed-over": 200, "degraded": 503, "down": 503}


def livez() -> Response:
    return json_response({"status": "alive", "pid": os.getpid()})


def readyz(scoreboard: Scoreboard | None, runtime_dir: Path) -> Response:
    if scoreboard is None:
        report = readiness(None)
    else:
        view = View.of(scoreboard)
        report = readiness(view, start_errors.of_view(runtime_dir, view))
    return json_response(report, STATUS_CODES[report["status"]])
