import subprocess
import sys

import pytest

FLOOD = """
import logging, sys
from coachman.system import stdio
stdio.make_nonblocking()
logging.basicConfig(stream=sys.stderr)
for number in range(2000):
    logging.error("line %d %s", number, "x" * 100)
    print("line", number, "y" * 100)
open(sys.argv[1], "w").write(str(stdio.lines_dropped()))
"""


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(tmp_path) -> None:
    count = tmp_path / "count"
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD, count], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(20) == 0
        taken = process.stdout.read() + process.stderr.read()

    dropped = int(count.read_text())
    assert 0 < dropped < 4000
    assert abs(taken.count(b"\n") + dropped - 4000) <= 2  # the last line of a pipe may be cut


def test_a_full_disk_costs_lines_and_no_traceback(tmp_path) -> None:
    count = tmp_path / "count"
    with open("/dev/full", "wb") as full:
        subprocess.run([sys.executable, "-c", FLOOD, count], stdout=full, stderr=full, timeout=20, check=True)

    assert int(count.read_text()) == 4000


def test_a_fork_counts_its_own_lines_alone(tmp_path) -> None:
    count = tmp_path / "count"
    program = FLOOD.replace("open(sys", "import os\nif os.fork():\n    os.wait(), os._exit(0)\nopen(sys")
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [sys.executable, "-c", program, count], stdout=full, stderr=full, timeout=20, check=True
        )

    assert int(count.read_text()) == 0, "the parent counts what it has dropped itself"


@pytest.mark.parametrize("text", ["one\n", "one\ntwo\n", "no end"])
def test_what_is_read_arrives_whole(tmp_path, text: str) -> None:
    program = f"from coachman.system import stdio; stdio.make_nonblocking(); print({text!r}, end='')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=True)

    assert ended.stdout.decode() == text
