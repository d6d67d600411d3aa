import os
import socket
import subprocess
import sys
import time

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
        assert process.wait(120) == 0
        taken = process.stdout.read() + process.stderr.read()

    dropped = int(count.read_text())
    assert 0 < dropped < 4000
    assert abs(taken.count(b"\n") + dropped - 4000) <= 2  # the last line of a pipe may be cut


def test_a_full_disk_costs_lines_and_no_traceback(tmp_path) -> None:
    count = tmp_path / "count"
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [sys.executable, "-c", FLOOD, count], stdout=full, stderr=full, timeout=120, check=True
        )

    assert int(count.read_text()) == 4000


def test_a_fork_counts_its_own_lines_alone(tmp_path) -> None:
    count = tmp_path / "count"
    program = FLOOD.replace("open(sys", "import os\nif os.fork():\n    os.wait(), os._exit(0)\nopen(sys")
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [sys.executable, "-c", program, count], stdout=full, stderr=full, timeout=120, check=True
        )

    assert int(count.read_text()) == 0, "the parent counts what it has dropped itself"


@pytest.mark.parametrize("text", ["one\n", "one\ntwo\n", "no end"])
def test_what_is_read_arrives_whole(tmp_path, text: str) -> None:
    program = f"from coachman.system import stdio; stdio.make_nonblocking(); print({text!r}, end='')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=True)

    assert ended.stdout.decode() == text


def connected(kind: str) -> tuple[int, int]:
    """Two descriptors: what is written to the second can be read from the first."""
    if kind == "pipe":
        return os.pipe()
    reader, writer = socket.socketpair()  # as the journal's
    return reader.detach(), writer.detach()


CHILD = """
import fcntl, os, subprocess, sys
from coachman.system import stdio
stdio.make_nonblocking()
print("ours")
assert not any(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_NONBLOCK for file in (1, 2))
subprocess.run(["sh", "-c", "seq 1 20000 | sed 's/^/a line of the child program, number /'"], check=True)
"""


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_program_that_is_started_waits_for_a_slow_reader_and_loses_nothing(kind: str) -> None:
    read, write = connected(kind)
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        taken = b""
        while piece := os.read(read, 4096):
            taken += piece
            time.sleep(0.0005)  # the reader is slow
        assert process.wait(120) == 0, process.stderr.read()
    os.close(read)

    assert taken.startswith(b"ours\n")
    assert taken.count(b"\n") == 20_001


def test_a_socket_that_nobody_reads_costs_lines_and_no_time(tmp_path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(
            [sys.executable, "-c", FLOOD, tmp_path / "count"],
            stdout=theirs,
            stderr=theirs,
            timeout=120,
            check=True,
        )
    assert 0 < int((tmp_path / "count").read_text()) < 4000


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_lines_follow_a_descriptor_that_is_given_another_file(tmp_path, kind: str) -> None:
    """As `gunicorn --daemon` does: who has started it must not find its pipe held open."""
    program = (
        "import os, sys; from coachman.system import stdio; stdio.make_nonblocking(); print('before')\n"
        f"os.dup2(os.open({str(tmp_path / 'log')!r}, os.O_WRONLY | os.O_CREAT), 1); print('after')\n"
        "sys.stdin.read()"
    )
    read, write = connected(kind)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=write) as process:
        os.close(write)
        taken = b""
        while piece := os.read(read, 4096):  # which ends while the program goes on
            taken += piece
        process.stdin.close()
        assert process.wait(120) == 0
    os.close(read)

    assert (taken, (tmp_path / "log").read_bytes()) == (b"before\n", b"after\n")
