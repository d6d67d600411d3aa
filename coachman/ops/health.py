"""`/livez` and `/readyz`, asked by people, proxies and orchestrators."""

import os

from coachman.ops.responses import Answer, json_answer
from coachman.state.readiness import readiness
from coachman.state.scoreboard import Scoreboard

ANSWERS_FOR = {"ready": 200, "handed-over": 200, "degraded": 503, "down": 503}


def livez() -> Answer:
    return json_answer({"status": "alive", "pid": os.getpid()})


def readyz(scoreboard: Scoreboard | None) -> Answer:
    report = readiness(scoreboard)
    return json_answer(report, ANSWERS_FOR[report["status"]])
