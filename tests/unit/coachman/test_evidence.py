"""What a release shows: what has changed, how long it took, and what a refused generation has said."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coachman.releases import changes, service_log
from coachman.releases.instance import UNNAMED
from coachman.releases.layout import Release
from coachman.releases.progress import Progress
from coachman.releases.systemd_service import Service
from coachman.system.sockets import Address


def release(folder: Path, packages: list[str], project: str = "") -> Release:
    for name in packages:
        (folder / ".venv/lib/python3.11/site-packages" / f"{name}.dist-info").mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(project)
    return Release(folder)


def test_changed_packages_are_named_with_both_versions(tmp_path: Path) -> None:
    before = release(tmp_path / "1", ["fastapi-0.115.12", "pydantic_core-2.1", "six-1.0"])
    after = release(tmp_path / "2", ["fastapi-0.116.0", "pydantic_core-2.1", "idna-3.7"])

    assert changes.of_packages(None, after) == "Packages: 3"
    assert changes.of_packages(before, before) == "Packages: the same 3"
    assert changes.of_packages(before, after) == (
        "Packages: fastapi 0.115.12 → 0.116.0, idna 3.7 is new, six is gone"
    )
    assert changes.packages(after)["pydantic-core"] == "2.1"


def test_many_changes_are_counted(tmp_path: Path) -> None:
    before = release(tmp_path / "1", [])
    after = release(tmp_path / "2", [f"p{number:02}-1" for number in range(20)])

    assert changes.of_packages(before, after).endswith("p11 1 is new and 8 more")


def test_changed_settings_are_shown_and_the_value_of_any_other_variable_is_not() -> None:
    running = {"COACHMAN_WORKERS": "2", "SECRET_KEY": "old", "SAME": "1", "COACHMAN_PROBE": "/", "PATH": "x"}
    following = {"COACHMAN_WORKERS": "4", "SECRET_KEY": "new", "SAME": "1", "TOKEN": "abc", "PATH": "y"}

    said = changes.of_settings(running, following, ["COACHMAN_WORKERS", "SECRET_KEY", "SAME", "TOKEN"])

    assert said == (
        "Settings: COACHMAN_PROBE is gone, COACHMAN_WORKERS 2 → 4, SECRET_KEY has another value, TOKEN is new"
    )
    assert changes.of_settings(running, running, ["SAME"]) == "Settings: the same"


def test_what_a_handover_sets_itself_is_no_change() -> None:
    assert changes.of_settings({"COACHMAN_RUNTIME_DIR": "/run"}, {}, []) == "Settings: the same"


def test_changes_of_pyproject_are_among_the_settings(tmp_path: Path) -> None:
    before = release(tmp_path / "1", [], "[tool.coachman]\nworkers = 2\n")
    after = release(tmp_path / "2", [], '[tool.coachman]\nworkers = 3\nprobe = "/health"\n')

    files = changes.of_project_file(before, after)
    assert files == ["probe is new (pyproject.toml)", "workers 2 → 3 (pyproject.toml)"]
    assert changes.of_settings({}, {}, [], files) == f"Settings: {', '.join(files)}"
    assert changes.setting(after, {}, "probe") == "/health"
    assert changes.setting(after, {"COACHMAN_PROBE": "/x"}, "probe") == "/x"
    assert changes.setting(before, {}, "probe") == ""


def test_the_names_of_an_environment_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("# A=1\nB=2\n  C = 3\nD='x\n")

    assert changes.names_in(tmp_path / "x.env") == {"B", "D"}
    assert changes.names_in(tmp_path / "nowhere") == set()


def test_the_time_of_each_step_is_told_also_of_one_that_fails() -> None:
    progress = Progress(lambda step: None)
    with progress.step("copy"):
        pass
    with pytest.raises(OSError, match="disk"), progress.step("packages"):
        raise OSError("disk")

    assert list(progress.seconds) == ["copy", "packages"]
    assert progress.summary() == "Took 0.0 s: copy 0.0, packages 0.0"


def test_the_last_lines_are_those_of_the_new_generation() -> None:
    ours = {"level": "error", "message": "It failed", "exception": "Traceback\nOSError"}
    entries = [
        json.dumps({"_PID": "1", "MESSAGE": "an access line of the one that serves"}),
        json.dumps({"_PID": "2", "MESSAGE": "print() of the application"}),
        json.dumps({"_PID": "2", "MESSAGE": json.dumps(ours)}),
        json.dumps({"_PID": "2", "MESSAGE": [104, 105, 255]}),
        json.dumps({"_PID": "2", "MESSAGE": "[1]"}),
        "no JSON",
    ]

    assert service_log.last_of(entries, frozenset({"1"})) == [
        "print() of the application",
        "[ERROR] It failed\nTraceback\nOSError",
        "hi�",
        "[1]",
    ]


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"ok": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        address = ("127.0.0.1", server.server_port)
        monkeypatch.setattr(Service, "_address", lambda *_: address)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield address
        server.shutdown()
        thread.join()


def test_the_request_and_its_answer_are_shown(address: Address) -> None:
    said = Service(UNNAMED).ask("/health")

    assert said.startswith("GET /health: 200 OK, 12 bytes of application/json, ")
    assert said.endswith(" ms")


def test_no_answer_is_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "_address", lambda *_: ("127.0.0.1", 1))

    assert Service(UNNAMED).ask("/").startswith("GET /: no answer: ")
