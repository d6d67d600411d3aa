"""benchmarks/servers.py, as short as it can be: only that it asks, and writes a table."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import REPOSITORY

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None and "CI" not in os.environ, reason="wrk is not installed: apt-get install wrk"
)


@needs_wrk
def test_servers_are_asked_in_turn_and_put_in_a_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/servers.py",
            "--only",
            "stock",
            "raw",
            "--workloads",
            "items",
            "--rounds",
            "1",
            "--seconds",
            "1",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert [row[2] for row in rows if row[0] == "| Coachman"] == ["1.00"]
    assert rows[-1][0] == "| Coachman, no framework and no database", "the limit is the last"
    assert float(rows[-1][2]) > 0
    # By CPU time: what else the machine did in a second of measuring says nothing of a server.
    assert float(rows[-1][4].strip(" |")) < 1, "without a framework it costs less"
    assert len(rows) == 3
    assert re.search(r"1 worker, 32 connections, 1 rounds of 1 s; Python \d", done.stdout)
