"""A service that an orchestrator scales: its command is run, and the report counts replicas."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.__main__ import cli
from loadtests.cells import Cells
from loadtests.report.wording import in_unit
from tests.loadtests.test_compare import NO_ANSWER, SHORT, run
from tests.support.service import Service, running

SCALE = f"{sys.executable} -m coachman scale {{n}}"  # stands for an orchestrator


def test_replicas_are_scaled_by_a_command_and_counted_in_the_report(tmp_path: Path) -> None:
    service = Service(tmp_path, COACHMAN_WORKERS="2")
    service.migrate()
    config, out = tmp_path / "replicas.toml", tmp_path / "run"
    config.write_text(f'{SHORT}url = "{service.url}"\nscale-command = "{SCALE}"\n')
    with running(service):
        done = run(
            "compare", "--attach", "--config", str(config), "--workers", "1,3", "--profiles", "reader",
            "--out", str(out), COACHMAN_RUNTIME_DIR=service.environment["COACHMAN_RUNTIME_DIR"],
        )  # fmt: skip
        assert service.report()["workers"] == 3, done.stdout
    assert done.returncode == NO_ANSWER, done.stdout
    assert "No answer: too few repeats for 1 replica: 1, and 3 are the least." in done.stdout
    assert "The service has 3 replicas now." in done.stdout
    cells = Cells(out).read()
    assert {cell.task.workers for cell in cells} == {1, 3}
    assert all(cell.answered and not cell.failures for cell in cells)
    assert all(cell.pss_mib == [] and cell.server_us is None for cell in cells), "nobody can know them"
    page = (out / "report.html").read_text()
    assert "replicas" in page
    assert "Memory, shared pages divided" not in page

    resumed = run("compare", "--resume", "--out", str(out))
    assert resumed.returncode == 1
    assert "counts replicas: give the --config of that run again." in resumed.stdout


@pytest.mark.parametrize(
    ("command", "attached", "sentence"),
    [
        ("scale {n}", [], "scale-command is refused without --attach"),
        (
            "scale 2",
            ["--attach"],
            "scale-command scale 2 is refused: it must contain {n}, the number of replicas",
        ),
        ("scale '{n}", ["--attach"], "scale-command scale '{n} is refused: No closing quotation"),
        ("/no/such {n}", ["--attach"], "`/no/such 1` cannot be run: No such file"),
        ("sh -c 'echo no service {n} >&2; exit 1'", ["--attach"], "failed: no service 1"),
    ],
)
def test_a_command_that_cannot_scale_ends_in_one_sentence(
    tmp_path: Path, command: str, attached: list[str], sentence: str
) -> None:
    (config := tmp_path / "replicas.toml").write_text(
        f'url = "http://127.0.0.1:1"\nscale-command = "{command}"\n'
    )
    chosen = ["--config", str(config), "--out", str(tmp_path), "--workers", "1", *attached]
    done = CliRunner().invoke(cli, ["compare", *chosen])

    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert sentence in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "of_replicas"),
    [
        ("Workers: 1 worker, 2 worker(s)", "Replicas: 1 replica, 2 replica(s)"),
        ("What should this machine run?", "What should this service run?"),
        ("--workers 1,2; uvicorn-worker 0.4; WORKER", "--workers 1,2; uvicorn-worker 0.4; WORKER"),
    ],
)
def test_only_the_words_for_what_is_counted_change(text: str, of_replicas: str) -> None:
    assert in_unit(text, "worker") == text
    assert in_unit(text, "replica") == of_replicas
