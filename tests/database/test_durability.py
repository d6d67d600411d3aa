"""In the order of its system calls: data is on the disk before anyone is told so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRITE = """
import asyncio, os, sys
from durable_database import Database

async def write(database, n):
    await database.execute("INSERT INTO entries (name) VALUES (:name)", {"name": f"{sys.argv[2]} {n}"})
    os.write(1, b"acknowledged")

async def main():
    async with Database(sys.argv[1]) as database:
        await database.execute("INSERT INTO entries (name) VALUES ('first')")
        os.write(1, b"begin")
        if sys.argv[2] == "together":
            await asyncio.gather(*(write(database, n) for n in range(50)))
        else:
            for n in range(20):
                await write(database, n)
        os.write(1, b"end")

asyncio.run(main())
"""
# A sync during which another thread calls something is complete where it is resumed.
CALL = re.compile(r'f(?:data)?sync(?:\(\d+\)| resumed>\))\s+= 0|write\(1, "(begin|acknowledged|end)"')


def system_calls(url: str, how: str, folder: Path) -> list[str]:
    """`sync` and `acknowledged`, in their order, between the first write and the end."""
    if shutil.which("strace") is None:
        if "CI" in os.environ:
            pytest.fail("no strace is installed, and CI is set")
        pytest.skip("no strace is installed")
    trace = folder / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync,write"]
    program = [sys.executable, "-c", WRITE, url, how]
    result = subprocess.run([*command, *program], capture_output=True, text=True, timeout=120, check=False)
    if result.returncode and "ptrace" in result.stderr.lower() and "CI" not in os.environ:
        pytest.skip(f"strace may not trace here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    found = [match[1] or "sync" for match in CALL.finditer(trace.read_text())]
    return found[found.index("begin") + 1 : found.index("end")]


def test_each_write_is_on_the_disk_before_it_is_acknowledged(url: str, tmp_path: Path) -> None:
    calls = system_calls(url, "alone", tmp_path)

    assert calls.count("acknowledged") == 20
    for before, call in zip(["acknowledged", *calls], calls, strict=False):
        assert (before, call) != ("acknowledged", "acknowledged"), calls


@pytest.mark.timing  # a commit is of what one process may write while others wait, which is a time
def test_writes_that_come_together_share_a_sync(url: str, tmp_path: Path) -> None:
    calls = system_calls(url, "together", tmp_path)

    assert calls.count("acknowledged") == 50
    assert calls[0] == "sync"
    assert calls.count("sync") <= 2
