"""Which start-up waits for which, with a process that has its turn already."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from coachman.serving import first_startup

HOLD = "import fcntl, sys; fcntl.lockf({file}, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A generation of its own, whose application has imported SQLAlchemy."""
    file = os.memfd_create("a test")
    monkeypatch.setattr(first_startup, "_turn", file)
    monkeypatch.setitem(sys.modules, "sqlalchemy", sys)
    yield file
    os.close(file)


@pytest.fixture
def other(turn: int) -> Iterator["subprocess.Popen[str]"]:
    """A worker that starts up."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(file=turn)],
        pass_fds=[turn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def waited(most_seconds: float, *, succeeds: bool = True) -> float:
    async def start_up() -> float:
        began = time.monotonic()
        async with first_startup.first_alone(most_seconds) as has_succeeded:
            seconds = time.monotonic() - began
            if succeeds:
                has_succeeded()
        return seconds

    return asyncio.run(start_up())


@pytest.mark.usefixtures("turn")
def test_the_first_waits_for_nobody_and_nobody_after_it() -> None:
    assert waited(60) < 40
    assert waited(60) < 40


@pytest.mark.usefixtures("other")
def test_one_that_starts_meanwhile_waits_but_not_for_ever(turn: int) -> None:
    assert waited(0.3) >= 0.3
    os.pwrite(turn, b"1", 0)
    assert waited(60) < 40, "the first one has started"


def test_where_the_first_one_dies_another_takes_its_turn(other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait(60)

    assert waited(60, succeeds=False) < 40
    assert waited(60) < 40, "the turn was not given back"


@pytest.mark.usefixtures("other")
def test_without_sqlalchemy_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sqlalchemy")

    assert waited(60) < 40
