import re
from pathlib import Path

import pytest

from coachman.serving.serve import uvicorn_options
from coachman.settings import OTHER_NAMES, ServerSettings, load_settings, misspelled_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"COACHMAN_{name.upper()}", raising=False)
    for name in OTHER_NAMES.values():
        monkeypatch.delenv(name, raising=False)


def test_defaults_listen_on_loopback_only() -> None:
    settings = load_settings()

    assert (settings.bind, settings.ops_bind) == ("127.0.0.1:8000", "127.0.0.1:9100")
    assert settings.workers is None


def test_web_concurrency_counts_where_coachman_workers_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert load_settings().workers == 3

    monkeypatch.setenv("COACHMAN_WORKERS", "5")
    assert load_settings().workers == 5


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("COACHMAN_WORKERS", "0", "COACHMAN_WORKERS=0 is refused: it must be a whole number from 1 to 256."),
        ("COACHMAN_WORKERS", "257", "COACHMAN_WORKERS=257 is refused"),
        ("WEB_CONCURRENCY", "two", "WEB_CONCURRENCY=two is refused: it must be a whole number"),
        ("COACHMAN_BIND", "8000", "COACHMAN_BIND=8000 is refused: it must be HOST:PORT"),
        ("COACHMAN_BIND", "::1:8000", "COACHMAN_BIND=::1:8000 is refused"),
        ("COACHMAN_BIND", "localhost:65536", "COACHMAN_BIND=localhost:65536 is refused"),
        ("COACHMAN_OPS_BIND", "unix:relative", "COACHMAN_OPS_BIND=unix:relative is refused"),
        ("COACHMAN_OPS_BIND", "127.0.0.1:8000", "COACHMAN_OPS_BIND=127.0.0.1:8000 is COACHMAN_BIND too"),
        ("COACHMAN_LOOP", "fast", "COACHMAN_LOOP=fast is refused: it must be auto, uvloop,"),
        ("COACHMAN_LOG_LEVEL", "loud", "COACHMAN_LOG_LEVEL=loud is refused: it must be debug,"),
        (
            "COACHMAN_APP",
            "main:app main",
            "COACHMAN_APP=main:app main is refused: it must be MODULE:ATTRIBUTE",
        ),
        ("COACHMAN_ROOT_PATH", "api/", "COACHMAN_ROOT_PATH=api/ is refused: it must be a path such as"),
        ("COACHMAN_HOST", "http://shop", "COACHMAN_HOST=http://shop is refused: it must be a host name or"),
        ("COACHMAN_PORT", "high", "COACHMAN_PORT=high is refused: it must be a whole number from 0"),
        ("PORT", "65536", "PORT=65536 is refused: it must be a whole number from 0 to 65535."),
    ],
)
def test_a_bad_value_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(key, value)

    with pytest.raises(SystemExit) as end:
        load_settings()

    assert str(end.value).startswith(sentence)
    assert "\n" not in str(end.value)


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKERS", "")

    assert load_settings().workers is None


@pytest.mark.parametrize(
    ("set_by", "bind"),
    [
        ({"COACHMAN_PORT": "9000"}, "127.0.0.1:9000"),
        ({"PORT": "9000"}, "127.0.0.1:9000"),
        ({"PORT": "9000", "COACHMAN_PORT": "9001"}, "127.0.0.1:9001"),
        ({"COACHMAN_HOST": "::1"}, "[::1]:8000"),
        ({"COACHMAN_BIND": "0.0.0.0:80", "COACHMAN_PORT": "81"}, "0.0.0.0:81"),
        ({"COACHMAN_UDS": "/run/shop.sock"}, "unix:/run/shop.sock"),
        ({"COACHMAN_UDS": "unix:/run/shop.sock"}, "unix:/run/shop.sock"),
        ({"COACHMAN_HOST": "[fe80::1%eth0]"}, "[fe80::1%eth0]:8000"),
    ],
)
def test_host_port_and_uds_are_parts_of_the_address(
    monkeypatch: pytest.MonkeyPatch, set_by: dict[str, str], bind: str
) -> None:
    for key, value in set_by.items():
        monkeypatch.setenv(key, value)

    assert load_settings().bind == bind


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pyproject.toml"


def test_pyproject_stands_between_the_environment_and_the_defaults(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text(
        '[tool.coachman]\nworkers = 4\nlog-level = "debug"\nport = 9000\ntrusted-proxies = ["10.0.0.0/8"]\n'
        '[tool.fastapi]\nentrypoint = "shop.web:app"\n'
    )
    monkeypatch.setenv("COACHMAN_LOG_LEVEL", "error")
    settings = load_settings()

    assert (settings.workers, settings.log_level, settings.bind) == (4, "error", "127.0.0.1:9000")
    assert (settings.app, settings.trusted_proxies) == ("shop.web:app", "10.0.0.0/8")

    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    monkeypatch.setenv("COACHMAN_BIND", "127.0.0.1:7000")
    assert (load_settings().workers, load_settings().bind) == (3, "127.0.0.1:7000")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.coachman]\nworkers = 0\n", "pyproject.toml: tool.coachman.workers=0 is refused: it must be"),
        ("[tool.coachman]\nworker = 1\n", "pyproject.toml: tool.coachman has no setting worker"),
        ("[tool]\ncoachman = 1\n", "pyproject.toml: tool.coachman is refused: it must be a table"),
        ("[tool.coachman\n", "pyproject.toml cannot be read: "),
        (
            "[tool.coachman]\nlog-level = 5\n",
            "pyproject.toml: tool.coachman.log_level=5 is refused: it must be",
        ),
        ("[tool.coachman]\nuds = 5\n", "pyproject.toml: tool.coachman.uds=5 is refused: it must be the path"),
        ("[tool.coachman]\nhost = 5\n", "pyproject.toml: tool.coachman.host=5 is refused: it must be a host"),
        ("[tool.coachman]\nworkers = true\n", "pyproject.toml: tool.coachman.workers=true is refused"),
        ("[tool.coachman]\nbind = 2026-01-01\n", "pyproject.toml: tool.coachman.bind=2026-01-01 is refused"),
    ],
)
def test_a_bad_project_file_ends_in_one_sentence(project: Path, text: str, sentence: str) -> None:
    project.write_text(text)

    with pytest.raises(SystemExit) as end:
        load_settings()

    assert str(end.value).startswith(sentence)


def test_the_root_path_is_uvicorns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uvicorn_options(ServerSettings())["root_path"] == ""
    monkeypatch.setenv("COACHMAN_ROOT_PATH", "/shop/v1")
    assert uvicorn_options(ServerSettings())["root_path"] == "/shop/v1"


@pytest.mark.parametrize("path", ["shop", "/shop/", "/", "/a b", "http://here/"])
def test_what_is_no_root_path_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("COACHMAN_ROOT_PATH", path)
    with pytest.raises(SystemExit, match=f"COACHMAN_ROOT_PATH={path} is refused: it must be a path"):
        load_settings()


def test_a_mistyped_key_is_told_with_the_nearest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKRES", "4")
    monkeypatch.setenv("COACHMAN_XYZZY", "1")
    monkeypatch.setenv("COACHMAN_BIND", "127.0.0.1:8000")
    monkeypatch.setenv("COACHMAN_EXPOSED", "0.0.0.0:8000")  # from a master to the application

    assert misspelled_settings() == [
        "COACHMAN_WORKRES is not a setting, and has no effect; did you mean COACHMAN_WORKERS?",
        "COACHMAN_XYZZY is not a setting, and has no effect; docs/settings.md lists all there are.",
    ]


def test_what_the_unit_sets_is_not_taken_for_mistyped(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = (Path(__file__).parents[3] / "systemd" / "coachman.service").read_text()
    for name, value in re.findall(r"^Environment=(COACHMAN_\w+)=(.*)$", unit, re.MULTILINE):
        monkeypatch.setenv(name, value)

    assert misspelled_settings() == []
