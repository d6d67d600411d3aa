"""Error reporters, tracers and metrics see under the compiler what they see without it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import package
from tests.support.service import REPOSITORY

SESSION = Path(__file__).parent / "tools" / "session.py"
LIMIT_SECONDS = 300

# Package, what the log says of the functions that it replaces, and whether routes are compiled beside it.
TOOLS = {
    "sentry": ("sentry-sdk", "fastapi.routing.get_request_handler is replaced by sentry_sdk.", False),
    "ddtrace": ("ddtrace", "fastapi.routing.serialize_response is replaced by", False),
    "newrelic": ("newrelic", "fastapi.routing.run_endpoint_function is replaced by newrelic.", False),
    "logfire": ("logfire[fastapi]", "fastapi.routing.run_endpoint_function is replaced by", False),
    "opentelemetry": ("opentelemetry-instrumentation-fastapi", "BackgroundTask.__call__ is", False),
    "opentelemetry_everywhere": (
        "opentelemetry-instrumentation-fastapi",
        "BackgroundTask.__call__ is",
        False,
    ),
    "elasticapm": ("elastic-apm", "ServerErrorMiddleware.__call__ is replaced by elasticapm.", False),
    "prometheus": ("prometheus-fastapi-instrumentator", "", True),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_sees_the_same(tool: str, tmp_path: Path) -> None:
    distribution, says, is_compiled = TOOLS[tool]
    python = package.environment(tmp_path / "venv", [*_locked(), "opentelemetry-sdk", distribution])

    def session(mode: str) -> tuple[dict[str, Any], str]:
        command = [str(python), "-W", "ignore", str(SESSION), tool, mode, str(REPOSITORY / "coachman")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen, done.stderr

    stock, _ = session("stock")
    compiled, log = session("compiled")

    assert compiled["answers"] == stock["answers"]
    assert compiled["events"] == stock["events"]
    assert (compiled["compiled"] > 0) is is_compiled
    assert says in "\n".join([*compiled["notices"], log])


def _locked() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    return [
        line.split(" ")[0] for line in lines if line.startswith(("fastapi==", "starlette==", "pydantic=="))
    ]
