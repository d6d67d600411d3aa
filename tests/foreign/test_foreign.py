"""One session with each published application: check, run, its own request, kill -9, handover, stop."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.foreign.applications import APPLICATIONS, Application
from tests.foreign.requests_of_their_own import USES
from tests.support import package, web
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.foreground import Installed
from tests.support.load import Load
from tests.support.service import is_alive, running, wait_until

TABLE = Path(os.environ.get("COACHMAN_FOREIGN_TABLE", "build/foreign.md"))


@pytest.fixture(params=APPLICATIONS, ids=[one.name for one in APPLICATIONS])
def application(request: pytest.FixtureRequest) -> Application:
    assert isinstance(request.param, Application)
    return request.param


@pytest.fixture
def service(application: Application, wheel: Path, tmp_path: Path) -> Installed:
    """The application in an environment of its own, into which Coachman is installed afterwards."""
    python = package.environment(tmp_path / "venv", application.packages)
    before = package.installed(python)
    package.install(python, str(wheel))
    after = package.installed(python)
    replaced = {name: (old, after.get(name)) for name, old in before.items() if after.get(name) != old}
    assert not replaced, f"installing Coachman has replaced packages of the application: {replaced}"
    service = Installed(tmp_path, python)
    (service.folder / "main.py").write_text(application.main)
    service._command_line += [*application.arguments, "--workers", "2"]
    service.versions = after
    return service


def test_a_session_with_a_published_application(application: Application, service: Installed) -> None:
    cells: list[str] = []

    def step(name: str, act: Callable[[], object]) -> None:
        begun = time.monotonic()
        act()
        cells.append(f"{time.monotonic() - begun:.1f} s")

    def check() -> None:
        done = service.ask("check", *application.arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        compiled = re.search(r"(\d+ of \d+) routes of FastAPI's are compiled", done.stdout)
        cells.append(compiled[1] if compiled else "-")

    def answers() -> None:
        answer = web.get(service.url + application.path, follow_redirects=True, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}\n{service.log()}"
        assert application.contains in answer.text, answer.text[:500]
        if use := USES.get(application.name):
            use(service.url)

    step("check", check)
    with running(service, ready=False):
        step(
            "run",
            lambda: (
                wait_until(service.is_ready, seconds=application.start_seconds)
                or pytest.fail(f"it was not ready in time\n{service.log()}")
            ),
        )
        step("request", answers)
        service.wait_settled()
        step("kill", lambda: _kill_one(service, application.start_seconds))
        service.wait_settled()
        with Load(service.port, application.path, clients=2, pause=0.05) as load:
            step("handover", lambda: _hand_over(service))
            answers()
        outcomes = load.outcomes
        assert set(outcomes) == {"success"}, f"{outcomes}\n{load.failures[:3]}\n{service.log()}"
        cells[-1] += f", {outcomes['success']} of {outcomes.total()}"
        step("stop", lambda: _stop(service))
        assert "/coachman/" not in "".join(re.findall(r"Traceback.*?\n\S", service.log(), re.DOTALL))
    _note(application, service, cells)


def _kill_one(service: Installed, seconds: float) -> None:
    killed = min(service.worker_pids())
    os.kill(killed, signal.SIGKILL)
    replaced = wait_until(lambda: len(service.worker_pids() - {killed}) == 2, seconds=seconds)
    assert replaced, service.log()


def _hand_over(service: Installed) -> None:
    done = service.ask("handover")
    assert done.returncode == 0, done.stdout + done.stderr + service.log()


def _stop(service: Installed) -> None:
    """By the signal of a terminal, to all of them; the master is one that nobody here has started."""
    pids = service.worker_pids()
    os.killpg(service.process.pid, signal.SIGTERM)
    assert wait_until(lambda: not any(is_alive(pid) for pid in pids)), service.log()


def _note(application: Application, service: Installed, cells: list[str]) -> None:
    """A line of the table in docs/applications.md."""
    version = service.versions[application.distribution or application.name]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("a") as table:
        table.write(f"| {application.label} | {version} | {' | '.join(cells)} |\n")
