import os
import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

import coachman
from coachman.cli import cli
from coachman.system.cpus import default_workers


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """A command puts what its flags say into the environment."""
    before = dict(os.environ)
    os.environ["COACHMAN_BIND"] = "127.0.0.1:0"  # whatever else listens here
    yield
    os.environ.clear()
    os.environ.update(before)


def test_check_says_what_a_master_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKERS", "3")
    monkeypatch.setenv("WEB_CONCURRENCY", "7")

    result = CliRunner().invoke(cli, ["check"])

    assert result.exit_code == 0
    assert "app.main:app loads; 3 workers (COACHMAN_WORKERS)" in result.stdout
    assert "WEB_CONCURRENCY is not used" in result.stdout


def test_check_names_the_bound_that_gave_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COACHMAN_WORKERS", raising=False)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    count, bound = default_workers()

    assert f"{count} workers ({bound})" in CliRunner().invoke(cli, ["check"]).stdout


def test_check_refuses_what_a_master_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_APP", "nowhere:app")

    result = CliRunner().invoke(cli, ["check"])

    assert result.exit_code == 1
    assert "there is no module nowhere here" in result.output


def test_check_shows_each_value_and_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_LOOP", "asyncio")

    shown = CliRunner().invoke(cli, ["check", "app.main:app", "--show", "-w", "3", "--no-access-log"]).stdout

    for row in (
        r"COACHMAN_APP +app.main:app +MODULE:APP",
        r"COACHMAN_WORKERS +3 +--workers",
        r"COACHMAN_ACCESS_LOG +off +--access-log",
        r"COACHMAN_LOOP +asyncio +COACHMAN_LOOP",
        r"COACHMAN_DRAIN_SECONDS +20 +default",
    ):
        assert re.search(f"^{row}$", shown, re.MULTILINE), shown


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"Coachman {coachman.__version__}\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--reload"], "--reload is refused: `coachman dev` starts anew when a file changes."),
        (["--log-config", "x.yaml"], "--log-config is refused: --log-level and --log-format are for"),
        (["--http", "httptools"], "--http is refused: it is decided here; leave it away"),
        (["-u", "shop"], "is refused: set it in gunicorn.conf.py, which is read from this folder."),
        (["nowhere.py"], "COACHMAN_APP=nowhere.py: there is no file "),
        (["app.main.app"], "app.main is a module, and no package; its attribute is named app.main:app."),
        ([":app"], "MODULE:APP=:app is refused: it must be MODULE:ATTRIBUTE of an ASGI application"),
        (["-k", "uvicorn.workers.UvicornWorker"], "--worker-class is refused: Coachman's own worker serves"),
        (["--workers", "none"], "--workers=none is refused: it must be a whole number from 1 to 256."),
    ],
)
def test_flags_that_cannot_hold_are_refused_in_a_sentence(flags: list[str], sentence: str) -> None:
    result = CliRunner().invoke(cli, ["check", *flags])

    assert result.exit_code == 1
    assert sentence in result.output


def test_check_names_a_mistyped_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKRES", "4")

    assert "did you mean COACHMAN_WORKERS?" in CliRunner().invoke(cli, ["check"]).stdout


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(cli, ["--version"])

    assert (result.exit_code, result.stdout) == (0, f"Coachman {coachman.__version__}\n")


@pytest.mark.parametrize(
    ("typed", "found"),
    [("st", "status"), ("kill-worker --si", "--signal"), ("kill-worker --signal A", "ABRT")],
)
def test_the_shell_completes_commands_and_options(typed: str, found: str) -> None:
    words = f"coachman {typed}"
    completing = {
        "_COACHMAN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }

    result = CliRunner().invoke(cli, [], prog_name="coachman", env=completing)

    assert result.output.split() == [found], result.output


@pytest.mark.parametrize("options", [["-n", "shop", "status"], ["--name", "shop", "status"]])
def test_a_named_application_is_looked_for_in_its_own_folder(options: list[str]) -> None:
    result = CliRunner().invoke(cli, options)

    assert result.exit_code == 3
    assert "No Coachman service runs: no living master's scoreboard in /run/coachman-shop." in result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-n", "Shop", "status"], "--name Shop is refused: it must be a letter"),
        (["-n", "ops", "list"], "--name ops is refused: the units of operations addresses end in -ops"),
        (["install", "--name", "a b", "--dry-run"], "--name a b is refused: it must be a letter"),
        (["nginx", "shop.example;"], "shop.example; is refused: it must be a host name"),
        (
            ["units", "--print", "--bind", "localhost:80"],
            "--bind localhost:80 is refused: systemd takes an IP",
        ),
        (["-n", "nobody", "units"], "coachman-nobody is not installed"),
    ],
)
def test_a_mistake_about_applications_ends_in_one_sentence(options: list[str], sentence: str) -> None:
    result = CliRunner().invoke(cli, options)

    assert result.exit_code == 1
    assert sentence in result.output


def test_units_are_printed_where_there_is_no_systemd() -> None:
    printed = CliRunner().invoke(cli, ["-n", "shop", "units", "--print", "--sealed"]).output

    for unit in ("coachman-shop.service", "coachman-shop.socket", "coachman-shop.service.d/00-sealed.conf"):
        assert f"# /etc/systemd/system/{unit}\n" in printed
