"""Blocks of the documents, run as they are written: README.md's session, examples and what they print."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import ROOT, blocks, printed
from tests.support.ports import free_port
from tests.support.service import Service, migrated, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("session"), COACHMAN_WORKERS="2")
    service.migrate()
    with running(service):
        yield service


def test_the_session_of_the_readme_does_what_it_says(service: Service, tmp_path: Path) -> None:
    create, book, sell, label, operate = (
        block_with(part) for part in ("unit_price", "receipt", "sale", "label.svg", "kill-worker 0\n")
    )

    item = answer_of(create, service, tmp_path)
    booked = answer_of(book, service, tmp_path)
    assert (item["sku"], booked["quantity"]) == ("TEA-1", 40)
    assert answer_of(book, service, tmp_path) == booked  # sent twice, booked once
    assert answer_of(sell, service, tmp_path)["detail"] == "Item 1 has 40 in stock; 41 cannot be taken."
    run(label, service, tmp_path)
    assert "<svg" in (tmp_path / "label.svg").read_text()

    service.wait_settled()
    shown = run(operate, service, tmp_path)
    assert "SIGKILL to the worker in slot 0" in shown
    assert shown.count("2/2 workers ready") == 2


def test_what_the_readme_says_of_wrong_settings_is_so(service: Service, tmp_path: Path) -> None:
    done = service.ask("check", "--workers", "0")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is refused: it must be" in done.stderr


def test_the_example_of_a_catalogue_prints_what_it_says(service: Service, tmp_path: Path) -> None:
    page = ROOT / "docs" / "catalogue.md"
    catalogue, told = printed(page)
    (tmp_path / "shop.csv").write_text(catalogue)
    here = service.environment | {
        "PYTHONPATH": str(ROOT),
        "SHOP_DATABASE_URL": f"sqlite:///{tmp_path}/shop.db",
    }
    (tmp_path / "shop.db").write_bytes(migrated())
    [command] = {block for block in blocks(page) if "import" in block}

    done = subprocess.run(
        command.replace(".venv/bin/python", sys.executable).split(),
        cwd=tmp_path,
        env=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )

    assert (done.returncode, done.stdout) == (1, told)


def test_check_counts_as_many_compiled_routes_as_the_page_says(service: Service) -> None:
    [example] = printed(ROOT / "docs" / "compiler.md")

    done = subprocess.run(
        [sys.executable, "-m", "coachman", "check"],
        cwd=ROOT,
        env=service.environment
        | {"COACHMAN_BIND": f"127.0.0.1:{free_port()}", "COACHMAN_OPS_BIND": f"127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert example.splitlines()[1] in done.stdout, done.stderr


def block_with(part: str) -> str:
    [block] = [block for block in blocks(ROOT / "README.md") if part in block]
    return block


def answer_of(block: str, service: Service, folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(block, service, folder))
    return answer


def run(block: str, service: Service, folder: Path) -> str:
    """What a block prints, asked of the service of this test instead of that on port 8000."""
    for written, here in (
        ("localhost:8000", f"127.0.0.1:{service.port}"),
        (".venv/bin/python", sys.executable),
    ):
        block = block.replace(written, here)
    done = subprocess.run(
        ["bash", "-euc", f"shopt -s expand_aliases\n{block}"],
        cwd=folder,
        env=service.environment | {"PYTHONPATH": f"{ROOT}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}\n{service.log()}"
    return done.stdout
