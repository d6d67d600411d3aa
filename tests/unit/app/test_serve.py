"""`python -m app`: the commands, started for real."""

import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from typer.testing import Result

from app import serve
from app.migrations.revision import REVISION

pytestmark = pytest.mark.sqlite

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m app` in an empty folder, to its end."""

    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        environment |= {f"SHOP_{key.upper()}": value for key, value in settings.items()}
        command = [sys.executable, "-m", "app", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def assert_one_sentence(result: subprocess.CompletedProcess[str], start: str) -> None:
    assert result.returncode == 1, result
    assert result.stderr.startswith(start)
    assert result.stderr.count("\n") == 1, result.stderr


def test_migrate_says_what_it_did(run: Run, tmp_path: Path) -> None:
    assert (
        run("migrate").stdout == f"sqlite:///var/coachman.db migrated from nothing to revision {REVISION}\n"
    )
    assert run("migrate").stdout == f"sqlite:///var/coachman.db is at revision {REVISION} already\n"
    assert (tmp_path / "var" / "coachman.db").exists()


def test_migrate_into_a_place_that_cannot_be_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")

    assert_one_sentence(run("migrate"), "the database var/coachman.db cannot be created: ")


def test_serving_an_unmigrated_database_is_one_sentence(run: Run) -> None:
    result = run("serve")

    assert_one_sentence(result, "database var/coachman.db cannot be opened: ")
    assert result.stderr.endswith("run: python -m app migrate\n")


@pytest.mark.parametrize("bind", ["8000", ":80x", "localhost:70000", "unix:relative", "unix:/run/x.sock"])
def test_bad_address_is_one_sentence(run_command: Callable[..., Result], bind: str) -> None:
    refused = run_command("serve", bind=bind)

    assert refused.exit_code == 1
    assert refused.output.startswith(f"SHOP_BIND={bind} is refused: it must be HOST:PORT")
    assert refused.output.count("\n") == 1, refused.output


def test_taken_port_ends_without_a_traceback(run: Run, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(bind=f"127.0.0.1:{taken.getsockname()[1]}", database_url=database_url)

    assert result.returncode == 3, result
    assert "address already in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_serves_on_a_port(served: str) -> None:
    connection = HTTPConnection(served.removeprefix("http://"), timeout=60)
    connection.request("GET", "/items/1/label.svg")

    assert connection.getresponse().status == 404
    connection.close()


def test_a_body_is_limited_where_no_coachman_is_in_front(served: str) -> None:
    connection = HTTPConnection(served.removeprefix("http://"), timeout=60)
    connection.request("POST", "/items", b"x" * (1024 * 1024 + 1))

    assert connection.getresponse().status == 413
    connection.close()


def test_the_event_loop_is_winloop_on_windows_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert serve.event_loop() == "auto"

    winloop = types.ModuleType("winloop")
    winloop.__spec__ = types.SimpleNamespace(name="winloop")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "winloop", winloop)
    assert serve.event_loop() == "winloop:new_event_loop"
