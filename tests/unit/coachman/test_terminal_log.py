"""What a terminal is told at the start and the stop of a service, and what a worker leaves for its master."""

import logging
import signal
from typing import Any

import pytest

from coachman.logs.formatters import FIELDS
from coachman.logs.last_words import BYTES, LastWords, Witness
from coachman.logs.terminal import DETAIL, without_details
from coachman.master.shutdown import End, sentence


def record(message: str, level: Any = logging.INFO, *arguments: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("gunicorn.error", level, "arbiter.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize(
    ("made", "is_shown"),
    [
        (record("Starting gunicorn %s", logging.INFO, "27"), False),
        (record("Shutting down: %s", logging.ERROR, "Master"), False),
        (record("Reason: %s", logging.ERROR, "no broker"), True),
        (record("Worker %s drains", logging.INFO, "in slot 0", **DETAIL), False),
        (record("stopped", **{FIELDS: {"event": "stopped"}}), False),
        (record("stopped with code 7", logging.WARNING, **{FIELDS: {"event": "stopped"}}), True),
        (record("crashed", logging.ERROR, **{FIELDS: {"event": "crashed"}}), True),
    ],
)
def test_a_terminal_is_spared_what_another_line_says(made: logging.LogRecord, is_shown: bool) -> None:
    assert without_details(made) == is_shown


@pytest.mark.parametrize(
    ("in_flight", "ends", "told"),
    [
        (0, [End(0, 0)], "after 1.2 s: 0 requests were in flight, none lost"),
        (1, [End(0, 0)], "after 1.2 s: 1 request was in flight, none lost"),
        (3, [End(0, 2), End(0, 0)], "after 1.2 s: 3 requests were in flight, at most 2 lost"),
        (0, [End(0, 1)], "after 1.2 s: 1 request was in flight, at most 1 lost"),
        (
            3,
            [End(-signal.SIGKILL, 3), End(0, 0)],
            "after 1.2 s: 3 requests were in flight, at most 3 lost; 1 worker was killed",
        ),
    ],
)
def test_a_stop_is_one_sentence(in_flight: int, ends: list[End], told: str) -> None:
    assert sentence(1.234, in_flight, ends) == told


def test_the_last_error_of_a_worker_is_read_by_its_master() -> None:
    words = LastWords(4)
    witness = Witness(words, 2, is_first_start=True)

    assert witness.filter(record("ready in %s", logging.INFO, "0 s"))
    assert words.of(2) == ""
    assert witness.filter(record("The application failed: %s", logging.ERROR, "no broker"))
    assert (words.of(1), words.of(2), words.of(3)) == ("", "The application failed: no broker", "")
    words.write_requests_cut(2, 3)
    assert (words.of(2), words.requests_cut(2)) == ("The application failed: no broker", 3)

    words.write(2, "\N{PILE OF POO}" * 100)
    assert set(words.of(2)) == {"\N{PILE OF POO}"}
    assert len(words.of(2).encode()) < BYTES
    words.clear(2)
    assert (words.of(2), words.requests_cut(2)) == ("", 0)


def test_a_refusal_that_is_no_log_line_is_written_down_too() -> None:
    words = LastWords(1)

    end = SystemExit("there is no module nowhere here")
    assert Witness(words, 0, is_first_start=True).take(end) is end, "at no terminal it is printed as well"
    assert words.of(0) == "there is no module nowhere here"
    assert Witness(words, 0, is_first_start=True).take(SystemExit(3)).code == 3
