"""The program of docs/database.md starts, and does what is said there."""

import re
import types
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

PAGE = Path(__file__).parents[2] / "docs" / "database.md"


def test_program_to_start_from_counts_visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"## A program to start from\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    source = block[1]
    assert 15 <= len(source.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("visits")
    exec(compile(source, "visits.py", "exec"), module.__dict__)

    for first in (1, 4):  # the second time with the file that is there
        with TestClient(module.app) as client:
            assert [client.post("/home").json() for _ in range(3)] == list(range(first, first + 3))
            assert client.post(f"/other{first}").json() == 1
