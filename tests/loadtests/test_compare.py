"""The real thing, as short as it can be: only that it measures, keeps, puts back and ends."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.__main__ import cli
from loadtests.cells import Cell, Cells
from loadtests.config import Config
from tests.support.service import REPOSITORY, Service, running, wait_until

LOADTESTS = [sys.executable, "-m", "loadtests"]
SHORT = """
repeats = 1
duration = 0.5
warmup = 0.3
latency-seconds = 1
other-cores = 99
seed = 1
"""
NO_ANSWER = 3


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LOADTESTS, *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    """Options for a run that is as short as it can be."""
    file = tmp_path / "short.toml"
    file.write_text(SHORT)
    return ["--config", str(file)]


def left_behind(mark: str) -> set[int]:
    """The processes that inherited a mark by their environment: generators, masters, workers."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            marked = process.name.isdigit() and mark.encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if marked:
            found.add(int(process.name))
    return found


def check_cell(cell: Cell) -> None:
    assert cell.answered > 0
    assert cell.failures == {}
    assert cell.requests == cell.answered
    assert len(cell.pss_mib) == cell.task.workers + 1
    assert all(mib > 5 for mib in cell.pss_mib)
    assert abs(sum(cell.shares) - 1) < 1e-9
    assert len(cell.shares) == cell.task.workers
    assert cell.server_cores > 0
    assert cell.generator_cores > 0


def test_a_comparison_measures_everything_once_and_is_resumed(tmp_path: Path, short: list[str]) -> None:
    out = str(tmp_path / "run")
    arguments = ("compare", "--profiles", "labels", "--workers", "1,2", *short, "--out", out)

    first = run(*arguments)
    again = run("compare", "--resume", "--out", out)

    assert first.returncode == NO_ANSWER, first.stdout
    assert "No answer: too few repeats for 1 worker: 1, and 3 are the least." in first.stdout
    cells = Cells(tmp_path / "run").read()
    accepted = [cell.task for cell in cells if cell.accepted]  # the others were disturbed, and measured again
    assert len(set(accepted)) == len(accepted) == 4
    for cell in cells:
        check_cell(cell)
    rates = [cell.rate for cell in cells if cell.task.phase == "latency"]
    assert rates[0] == rates[1], "all numbers of workers are asked for the same rate"
    assert again.returncode == NO_ANSWER, again.stdout
    assert len(Cells(tmp_path / "run").read()) == len(cells), "nothing is measured twice"
    assert (tmp_path / "run" / "report.html").exists()
    refused = CliRunner().invoke(cli, ["compare", "--out", out])
    assert refused.output.strip().endswith("holds a run: --resume goes on with it.")


@pytest.mark.timing  # on a busy machine what is to end takes longer than the test waits
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_measured_and_leaves_nothing_running(
    tmp_path: Path, short: list[str], signum: signal.Signals
) -> None:
    folder, mark = tmp_path / "run", f"LEFT_BEHIND={tmp_path}"
    process = subprocess.Popen(
        [*LOADTESTS, "compare", "--profiles", "wait-async", "--workers", "1,2,3,4", *short, "--out", folder],
        cwd=REPOSITORY, env=os.environ | {"LEFT_BEHIND": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert wait_until(lambda: (folder / "cells.jsonl").exists(), seconds=60)
        assert wait_until(lambda: len(left_behind(mark)) > 1), "what is looked for is there while it runs"
        process.send_signal(signum)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == NO_ANSWER, output
    assert "Stopped by Ctrl-C: " in output
    assert "Traceback" not in output
    assert Cells(folder).read()
    assert "Stopped by Ctrl-C" in (folder / "report.html").read_text()
    assert wait_until(lambda: not left_behind(mark)), left_behind(mark)


def make_key(service: Service) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "coachman", "keys", "add", "load"],
        cwd=REPOSITORY,
        env=service.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return made.stdout.split()[0]


def test_a_running_service_is_scaled_measured_and_put_back(tmp_path: Path, short: list[str]) -> None:
    service = Service(tmp_path, COACHMAN_WORKERS="2")
    service.environment["SHOP_KEYS_FILE"] = f"{tmp_path}/keys"
    key = make_key(service)
    service.migrate()
    with Path(short[-1]).open("a") as file:
        file.write(f'url = "{service.url}"\nops-url = "{service.ops_url}"\n')
        file.write(f'coachman = "{sys.executable} -m coachman"\n')
    arguments = ("compare", "--attach", "--profiles", "mixed,labels", "--workers", "1", *short, "--out")
    found_by = {"COACHMAN_RUNTIME_DIR": service.environment["COACHMAN_RUNTIME_DIR"]}
    with running(service):
        refused = run(*arguments, str(tmp_path / "refused"), **found_by)
        done = run(*arguments, str(tmp_path / "run"), LOADTESTS_KEY=key, **found_by)

        assert refused.returncode == 1, refused.stdout
        assert f"{service.url} wants a key for writing: set LOADTESTS_KEY to one." in refused.stdout
        assert done.returncode == NO_ANSWER, done.stdout
        assert service.report()["workers"] == 2, "it is as it was"
    cells = Cells(tmp_path / "run").read()
    assert {(cell.task.profile, cell.task.workers) for cell in cells} == {("mixed", 1), ("labels", 1)}
    for cell in cells:
        check_cell(cell)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["attached"] == service.url


@pytest.mark.timing
def test_measurements_beside_a_burner_are_repeated_and_set_aside(tmp_path: Path) -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    config = tmp_path / "config.toml"
    config.write_text("repeats = 1\nduration = 1\nlatency-seconds = 1\n")
    try:
        done = run(
            "compare", "--profiles", "wait-async", "--workers", "1", "--config", str(config),
            "--out", str(tmp_path / "run"),
        )  # fmt: skip
    finally:
        burner.kill()
        burner.wait()

    cells = Cells(tmp_path / "run").read()
    assert [cell.accepted for cell in cells] == [False] * 4, "each was tried twice"
    assert all("disturbed by other processes" in cell.flags for cell in cells)
    assert all(cell.other_cores > 0.3 for cell in cells)
    assert done.returncode == NO_ANSWER, done.stdout
    assert "measurements were disturbed by other processes; repeat on a quiet machine" in done.stdout


def test_the_generator_says_what_it_can_do_itself() -> None:
    done = run("calibrate", "--seconds", "1")

    found = re.search(r"Locust alone: ([\d,]+) requests/s, (\d+) µs of CPU each", done.stdout)
    assert found, done.stdout
    assert int(found[1].replace(",", "")) > 0
    assert int(found[2]) > 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "--workers", "1,x"], "--workers 1,x is refused: it must be numbers from 1 to 256"),
        (["compare", "--profiles", "writer"], "--profiles writer is refused: there are reader, clerk"),
        (["compare", "--resume"], "--resume needs --out with the folder of a run"),
        (["compare", "--workers", "0,2"], "--workers 0 is refused: it must be greater than or equal to 1."),
        (["compare", "--rate", "0"], "--rate 0.0 is refused: it must be greater than or equal to 0.1."),
        (["drill", "--url", "http://example.org"], "--url http://example.org is refused: it must be"),
        (["report", "/nowhere"], "/nowhere is refused: it must be the folder of a comparison"),
        (["drill", "--signals", "TERM"], "--signals TERM is refused: there are KILL, STOP, ABRT."),
        (
            ["drill", "--attach", "--ops-url", "http://127.0.0.1:1", "--out", "/tmp/loadtests-none"],
            "http://127.0.0.1:1/readyz does not answer",
        ),
    ],
)
def test_a_mistake_ends_in_one_sentence(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(cli, arguments)

    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert sentence in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "repeets = 3",
            "repeets is refused: there is no such key; did you mean repeats? Nothing was measured.",
        ),
        (
            "latency_second = 3",
            "latency-second is refused: there is no such key; did you mean latency-seconds?",
        ),
        ("colour = 1", "colour is refused: there is no such key; there are profiles, workers, repeats"),
        ("repeats = 0", "repeats 0 is refused: it must be greater than or equal to 1. Nothing was measured."),
        ('repeats = "five"', "repeats five is refused: it must be a valid integer."),
        ("workers = [1, 300]", "workers 300 is refused: it must be less than or equal to 256."),
        ('profiles = ["writer"]', "profiles writer is refused: there are reader, clerk, labels"),
        ("repeats = ", "is no TOML: "),
        ('url = "http://example.org"', "--url http://example.org is refused: it must be on this machine"),
    ],
)
def test_a_mistake_in_the_file_ends_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "compare.toml"
    file.write_text(text)

    done = CliRunner().invoke(cli, ["compare", "--config", str(file), "--out", str(tmp_path / "run")])

    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "run" / "cells.jsonl").exists()


def test_options_take_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "compare.toml"
    file.write_text("workers = [4, 1]\nwithin = 10\np99-ms = 50\nrate = 200")

    plan = Config.read(file, {"rate": 300.0, "workers": None}).plan(seed=1)

    assert (plan.workers, plan.within, plan.p99_ms, plan.rate) == ([1, 4], 0.1, 50, 300)


def test_the_docs_list_every_key_with_its_default() -> None:
    text = (REPOSITORY / "docs" / "load-testing.md").read_text()
    block = next(part for part in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "repeats" in part)

    keys = {line.lstrip("# ").split(" = ")[0] for line in block.splitlines() if " = " in line}
    assert keys == {name.replace("_", "-") for name in Config.model_fields}
    assert Config.model_validate(tomllib.loads(block)) == Config()
