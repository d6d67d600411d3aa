"""`/livez` and `/readyz`, asked by people, proxies and orchestrators."""

import os

from coachman.ops.responses import Response, json_response
from coachman.state.readiness import readiness
from coachman.state.scoreboard import Scoreboard
from coachman.state.view import View

STATUS_CODES = {"ready": 200, "handed-over": 200, "degraded": 503, "down": 503}


def livez() -> Response:
    return json_response({"status": "alive", "pid": os.getpid()})


def readyz(scoreboard: Scoreboard | None) -> Response:
    report = readiness(View.of(scoreboard) if scoreboard is not None else None)
    return json_response(report, STATUS_CODES[report["status"]])
