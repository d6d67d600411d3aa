"""`coachman run` at a terminal: a block at the start, a sentence at the stop, a failure's reason last."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreground import MAIN, Foreground
from tests.support.terminal import Terminal, at_terminal, plain

FAILING = (
    """
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app):
        raise OSError("the payment gateway does not answer")
        yield
"""
    + MAIN
).replace("app = FastAPI()", "app = FastAPI(lifespan=lifespan)")
OF_GUNICORN = ("Starting gunicorn", "Listening at", "Using worker", "Booting worker", "Worker exiting")


@contextlib.contextmanager
def foreground(tmp_path: Path, *arguments: str, main: str = MAIN) -> Iterator[Terminal]:
    service = Foreground(tmp_path, **{"main.py": main})
    command = [*service._command_line, "-w", "3", *arguments, *service.own_addresses]
    with at_terminal(command, cwd=service.folder, environment=service.environment, columns=200) as terminal:
        yield terminal


def test_the_start_is_a_block_and_the_stop_a_sentence(tmp_path: Path) -> None:
    with foreground(tmp_path) as terminal:
        terminal.wait_for(r"Coachman [\d.]+ serves main:app\n")
        for name in ("application", "interactive docs", "status page", "processes"):
            terminal.wait_for(rf"  {name} +\S+")
        terminal.wait_for(r"All 3 workers serve, [\d.]+ s after the start")
        terminal.press("\x03")
        assert terminal.wait_end() == 0, terminal.shown

    text = plain(terminal.shown)
    told = r"Stopped after [\d.]+ s: 0 requests were in flight, none lost$"
    assert re.search(told, text.strip().splitlines()[-1]), text
    assert text.count("Stopped after") == 1, text
    for line in (*OF_GUNICORN, "Handling signal", "Shutting down", "Worker in slot"):
        assert line not in text, text


def test_the_show_counts_what_was_lost_and_leaves_nothing_behind(tmp_path: Path) -> None:
    service = Foreground(tmp_path)
    service.environment["TMPDIR"] = str(tmp_path)
    done = service.ask("show", "--seconds", "4")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-3:-1] == ["      0 lost by the handover", "      0 lost by the refused release"], (
        done.stdout
    )
    for step in ("it serves (pid ", "Generation 2 serves", "there is no module no_such_release"):
        assert step in " ".join(done.stdout.split()), done.stdout  # lines end where the terminal's would
    assert list(tmp_path.glob("coachman-show-*")) == []


@pytest.mark.parametrize(
    ("arguments", "main", "reason"),
    [
        ((), FAILING, r"The application failed: the payment gateway does not answer \(\S*main\.py:\d+\)"),
        (
            ("main:nope", "--no-preload"),
            MAIN,
            r"COACHMAN_APP=main:nope: main has no application named nope.*",
        ),
    ],
)
def test_the_reason_of_a_failed_first_start_is_the_last_line_once(
    tmp_path: Path, arguments: tuple[str, ...], main: str, reason: str
) -> None:
    with foreground(tmp_path, *arguments, main=main) as terminal:
        assert terminal.wait_end() == 3, terminal.shown

    text = plain(terminal.shown).strip()
    assert re.search(f"Reason: {reason}$", text.splitlines()[-1]), text
    assert len(re.findall(reason, text)) == 1, text
    assert "the next one starts" not in text, text
