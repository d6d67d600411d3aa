import pytest
from typer.testing import CliRunner

from coachman.cli import cli
from coachman.system.cpus import default_workers


def test_check_says_what_a_master_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKERS", "3")
    monkeypatch.setenv("WEB_CONCURRENCY", "7")

    result = CliRunner().invoke(cli, ["check"])

    assert result.exit_code == 0
    assert "app.main:app loads; 3 workers, as told" in result.stdout
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
