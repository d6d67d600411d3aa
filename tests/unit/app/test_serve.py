"""`python -m app`: the commands, started for real."""

import os
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

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
        environment |= {f"COACHMAN_{key.upper()}": value for key, value in settings.items()}
        command = [sys.executable, "-m", "app", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
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


@pytest.mark.parametrize("bind", ["8000", ":80x", "localhost:70000", "unix:relative"])
def test_bad_address_is_one_sentence(run: Run, bind: str) -> None:
    assert_one_sentence(run(bind=bind), f"COACHMAN_BIND={bind} is refused: it must be HOST:PORT")


@pytest.mark.parametrize(
    ("loop", "sentence"),
    [
        ("fast", "COACHMAN_LOOP=fast is refused: it must be auto, uvloop, asyncio, rloop or MODULE:FACTORY."),
        (
            "nowhere.loops:new",
            "COACHMAN_LOOP=nowhere.loops:new: the package nowhere is not installed; run: pip install nowhere",
        ),
        ("json:nothing", "COACHMAN_LOOP=json:nothing: the module json has no nothing"),
        ("json.nowhere:new", "COACHMAN_LOOP=json.nowhere:new: No module named 'json.nowhere'"),
    ],
)
def test_unusable_loop_is_one_sentence(run: Run, loop: str, sentence: str) -> None:
    assert_one_sentence(run(loop=loop), sentence)


def test_taken_port_is_one_sentence(run: Run) -> None:
    run("migrate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(bind=bind)

    assert_one_sentence(result, f"COACHMAN_BIND={bind}: cannot listen there: Address already in use")


def test_socket_file_in_a_missing_folder_is_one_sentence(run: Run, tmp_path: Path) -> None:
    run("migrate")
    bind = f"unix:{tmp_path}/missing/x.sock"

    assert_one_sentence(run(bind=bind), f"COACHMAN_BIND={bind}: cannot listen there: No such file")


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(str(self.path))


@pytest.fixture
def socket_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "x.sock"
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(str(path))
    left_behind.close()
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_serves_on_a_socket_file_until_it_is_told_to_stop(
    database_url: str, socket_file: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    environment = os.environ | {"COACHMAN_DATABASE_URL": database_url, "COACHMAN_BIND": f"unix:{socket_file}"}
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            assert answer_within(socket_file, seconds=15) == 200, log.read_text()
            process.send_signal(stop)
            assert process.wait(timeout=15) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text()


def answer_within(path: Path, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection = UnixConnection(path)
        try:
            connection.request("GET", "/items")
            return connection.getresponse().status
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    return None


def test_serves_on_a_port(served: str) -> None:
    connection = HTTPConnection(served.removeprefix("http://"), timeout=5)
    connection.request("GET", "/items/1/label.svg")

    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize(
    ("loop", "chosen"),
    [
        ("auto", "auto"),
        ("asyncio", "asyncio"),
        ("uvloop", "uvloop"),
        ("rloop", "rloop:new_event_loop"),
        ("asyncio:new_event_loop", "asyncio:new_event_loop"),
    ],
)
def test_loop_of_the_setting_is_what_uvicorn_gets(loop: str, chosen: str) -> None:
    assert serve.loop_factory(loop) == chosen


def test_auto_means_winloop_on_windows_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert serve.loop_factory("auto") == "asyncio"

    winloop = types.ModuleType("winloop")
    winloop.__spec__ = types.SimpleNamespace(name="winloop")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "winloop", winloop)
    assert serve.loop_factory("auto") == "winloop:new_event_loop"
