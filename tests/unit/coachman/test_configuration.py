"""Which of a flag, the environment and the files decides, and that each is named as the source."""

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coachman.cli import _options
from coachman.cli._configuration import configure
from coachman.system import gunicorn_file

SOURCES = {
    "app": ("main:app", "MODULE:APP"),
    "workers": (4, "--workers"),
    "keepalive_seconds": (3, "COACHMAN_KEEPALIVE_SECONDS"),
    "hang_seconds": (11, "env: COACHMAN_HANG_SECONDS"),
    "drain_seconds": (6, "pyproject.toml: tool.coachman.drain_seconds"),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """What configure() puts into the environment is taken out of it again."""
    before = dict(os.environ)
    for key in [
        key for key in os.environ if key.startswith("COACHMAN_") or key in ("PORT", "WEB_CONCURRENCY")
    ]:
        del os.environ[key]
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


def test_a_flag_goes_before_the_environment_and_that_before_each_file(environment: Path) -> None:
    (environment / "pyproject.toml").write_text("[tool.coachman]\nworkers = 5\ndrain-seconds = 6\n")
    (environment / "gunicorn.conf.py").write_text(
        "workers = 7\ngraceful_timeout = 8\nkeepalive = 2\ntimeout = 9\n"
    )
    (environment / "env").write_text("COACHMAN_HANG_SECONDS=11\nWORD=from file\nHOME=nowhere\n")
    os.environ["COACHMAN_KEEPALIVE_SECONDS"] = "3"

    found = configure("main:app", {"workers": "4", "env_file": "env"})
    settings = found.settings

    assert (settings.workers, found.source("workers")) == (4, "--workers")
    assert (settings.keepalive_seconds, found.source("keepalive_seconds")) == (
        3,
        "COACHMAN_KEEPALIVE_SECONDS",
    )
    assert (settings.hang_seconds, found.source("hang_seconds")) == (11, "env: COACHMAN_HANG_SECONDS")
    assert (settings.drain_seconds, found.source("drain_seconds")) == (
        6,
        "pyproject.toml: tool.coachman.drain_seconds",
    )
    assert (settings.app, found.source("app")) == ("main:app", "MODULE:APP")
    assert found.source("loop") == "default"
    assert os.environ["WORD"] == "from file"
    assert os.environ["HOME"] != "nowhere"


@pytest.mark.parametrize(
    ("flags", "set_before", "bind"),
    [
        ({"port": "9000"}, {}, "127.0.0.1:9000"),
        ({"host": "0.0.0.0"}, {"COACHMAN_BIND": "127.0.0.1:7000"}, "0.0.0.0:7000"),
        ({"bind": "127.0.0.1:9000"}, {"PORT": "7000"}, "127.0.0.1:9000"),
        ({"bind": "127.0.0.1:9000"}, {"COACHMAN_UDS": "/run/a.sock"}, "127.0.0.1:9000"),
        ({"port": "9000"}, {"COACHMAN_UDS": "/run/a.sock"}, "127.0.0.1:9000"),
        ({"uds": "/run/b.sock"}, {"COACHMAN_BIND": "127.0.0.1:7000"}, "unix:/run/b.sock"),
    ],
)
def test_flags_for_the_address_win_whatever_its_form(
    flags: dict[str, str], set_before: dict[str, str], bind: str
) -> None:
    os.environ.update(set_before)

    assert configure("", flags).settings.bind == bind


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"workers": "many"}, "--workers=many is refused: it must be a whole number from 1 to 256."),
        ({"port": "http"}, "--port http is refused: it must be a whole number from 0 to 65535."),
        ({"uds": "/a", "port": "1"}, "--uds is refused beside --host, --port or --bind"),
        ({"env_file": "none"}, "--env-file none cannot be read: no such file or directory."),
        ({"host": "http://localhost"}, "--host http://localhost is refused: it must be a host name or an IP"),
        (
            {"host": "127.0.0.1:8000"},
            "--host 127.0.0.1:8000 is refused: it must be a host name or an IP address.",
        ),
    ],
)
def test_a_bad_flag_is_named_as_it_was_written(flags: dict[str, str], sentence: str) -> None:
    with pytest.raises(SystemExit) as end:
        configure("", flags)

    assert str(end.value).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"A=1\0", "--env-file .env cannot be read: embedded null byte."),
        (b"\xff", "--env-file .env cannot be read"),
    ],
)
def test_an_env_file_that_nobody_can_use_ends_in_one_sentence(
    environment: Path, content: bytes, sentence: str
) -> None:
    (environment / ".env").write_bytes(content)

    with pytest.raises(SystemExit) as end:
        configure("", {"env_file": ".env"})
    assert str(end.value).startswith(sentence)


def test_a_line_of_the_env_file_that_is_skipped_is_named(
    environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (environment / ".env").write_text("COACHMAN_WORKERS=3\nno name and no value\n")

    assert configure("", {"env_file": ".env"}).settings.workers == 3
    [line] = caplog.messages
    assert line.startswith("--env-file .env: ")
    assert line.endswith("line 2")


def test_the_env_file_may_be_named_in_pyproject(environment: Path) -> None:
    (environment / "pyproject.toml").write_text("[tool.coachman]\nenv-file = 'shop.env'\n")
    with pytest.raises(SystemExit, match=r"^--env-file shop\.env cannot be read: no such file"):
        configure("", {})
    (environment / "shop.env").write_text("COACHMAN_WORKERS=3\n")
    del os.environ["COACHMAN_ENV_FILE"]

    found = configure("", {})

    assert (found.settings.workers, found.source("workers")) == (3, "shop.env: COACHMAN_WORKERS")
    assert found.source("env_file") == "pyproject.toml: tool.coachman.env_file"


def test_a_value_of_a_gunicorn_file_is_refused_by_the_name_that_it_has_there(environment: Path) -> None:
    (environment / "gunicorn.conf.py").write_text("timeout = -5\n")

    with pytest.raises(
        SystemExit, match=r"^gunicorn\.conf\.py: timeout=-5 is refused: it must be whole seconds"
    ):
        configure("", {})


def test_a_gunicorn_file_is_sorted_by_what_becomes_of_each_name(environment: Path) -> None:
    (environment / "gunicorn.conf.py").write_text(
        "import multiprocessing\n"
        "bind = ['127.0.0.1:1', '127.0.0.1:2']\naccesslog = '-'\n"
        "worker_class = 'uvicorn.workers.UvicornWorker'\n"
        "preload_app = False\ntimeout = 0\nuser = 'shop'\ndef post_fork(server, worker): ...\n"
    )
    found = gunicorn_file.read(environment)

    assert found.settings == {"access_log": "on", "preload": "off"}
    assert found.values["bind"] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert found.values["user"] == "shop"
    assert set(found.hooks) == {"post_fork"}
    assert found.unused == ["worker_class"]


def test_a_gunicorn_file_may_import_from_its_folder(environment: Path) -> None:
    before = list(sys.path)
    (environment / "shop_numbers.py").write_text("WORKERS = 3\n")
    (environment / "gunicorn.conf.py").write_text("from shop_numbers import WORKERS as workers\n")

    assert gunicorn_file.read(environment).settings == {"workers": "3"}
    assert sys.path == before


def test_a_gunicorn_file_that_raises_ends_in_one_sentence(
    environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (environment / "gunicorn.conf.py").write_text("workers = int('many')\n")

    with pytest.raises(SystemExit, match=r"gunicorn.conf.py failed: ValueError: invalid literal"):
        gunicorn_file.read(environment)
    assert 'gunicorn.conf.py", line 1' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import sys\nsys.exit(3)", r"gunicorn.conf.py ended the program: sys.exit\(3\)."),
        (
            "post_fork = 5",
            "gunicorn.conf.py: post_fork is refused: it must be a function of server, worker.",
        ),
        (
            "def when_ready(a, b): ...",
            "gunicorn.conf.py: when_ready is refused: it must be a function of server.",
        ),
    ],
)
def test_a_gunicorn_file_that_cannot_hold_is_refused(environment: Path, text: str, sentence: str) -> None:
    (environment / "gunicorn.conf.py").write_text(text)

    with pytest.raises(SystemExit, match=sentence):
        gunicorn_file.read(environment)


HOOKS = "".join(
    f"def {name}({arguments}): raise RuntimeError('mine')\n"
    for name, arguments in {
        "when_ready": "server",
        "post_fork": "server, worker",
        "pre_fork": "server, worker",
        "child_exit": "server, worker",
    }.items()
)


def test_a_hook_that_fails_is_named_and_ends_nothing_but_a_start(
    environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = environment / "gunicorn.conf.py"
    path.write_text(HOOKS)
    file = gunicorn_file.read(environment)

    for name in ("when_ready", "post_fork"):
        with pytest.raises(
            SystemExit, match=rf"^gunicorn\.conf\.py: {name} failed: RuntimeError: mine \({path}:"
        ):
            file.hooks[name](*gunicorn_file.HOOKS[name])
    for hook in (file.hooks["pre_fork"], file.values["child_exit"]):
        hook("server", "worker")
    assert [line.partition(" (")[0] for line in caplog.messages] == [
        "gunicorn.conf.py: pre_fork failed: RuntimeError: mine",
        "gunicorn.conf.py: child_exit failed: RuntimeError: mine",
    ]
    assert len(inspect.signature(file.values["child_exit"]).parameters) == 2, "which Gunicorn counts"


def test_each_setting_has_a_flag() -> None:
    assert _options.flag("drain_seconds") == "--drain-seconds"
