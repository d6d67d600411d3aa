"""Whose the root logger is: the application's where it configures it, else Coachman's. No line twice."""

import contextlib
import io
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator

import pytest

from coachman.system import root_logger
from coachman.system.root_logger import free_to_configure

BARE = {"version": 1, "disable_existing_loggers": False}  # the others in this process


class Sender(logging.Handler):
    """As OpenTelemetry's, which prints nothing."""

    __module__ = "opentelemetry.sdk._logs"

    def emit(self, record: logging.LogRecord) -> None: ...


class Intercept(Sender):
    """As loguru's documentation has it."""

    __module__ = "main"


@contextlib.contextmanager
def taken_over() -> Iterator[io.StringIO]:
    """The root logger without pytest's handlers; what Coachman's has written."""
    root, text = logging.getLogger(), io.StringIO()
    before, level = root.handlers, root.level
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("OURS %(name)s %(levelname)s %(message)s"))
    root_logger.set_up([handler])
    try:
        yield text
    finally:
        root.handlers = before
        root.setLevel(level)


def basic_config() -> None:
    logging.basicConfig(level=logging.DEBUG, format="THEIRS %(name)s %(message)s")


def dict_config() -> None:
    handlers = {"h": {"class": "logging.StreamHandler", "formatter": "f"}}
    formatters = {"f": {"format": "THEIRS %(name)s %(message)s"}}
    root = {"level": "DEBUG", "handlers": ["h"]}
    logging.config.dictConfig(
        {**BARE, "formatters": formatters, "handlers": handlers, "root": root},
    )


@pytest.mark.parametrize("configure", [basic_config, dict_config])
def test_an_application_that_configures_the_root_logger_has_it_for_itself(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with taken_over() as ours:
        with free_to_configure():
            logging.getLogger("shop").info("before")
            configure()
        logging.getLogger("shop").debug("after")

    assert ours.getvalue() == "OURS shop INFO before\n"
    assert capsys.readouterr().err == "THEIRS shop after\n"


@pytest.mark.parametrize(
    "act",
    [
        lambda: None,
        lambda: logging.info("a line through the module configures it"),
        lambda: logging.basicConfig(level=logging.DEBUG),
        lambda: logging.getLogger().addHandler(logging.NullHandler()),
        lambda: logging.getLogger().addHandler(Sender()),
        lambda: logging.config.dictConfig(BARE),
    ],
)
def test_where_nobody_has_given_the_lines_a_form_ours_stays(act: Callable[[], None]) -> None:
    last_resort = logging.lastResort
    with taken_over() as ours:
        with free_to_configure():
            act()
        logging.getLogger("shop").info("hello")

    assert ours.getvalue().endswith("OURS shop INFO hello\n")
    assert logging.lastResort is last_resort


def test_a_level_that_the_application_has_set_holds() -> None:
    with taken_over() as ours:
        logging.getLogger("shop").debug("of no interest")
        with free_to_configure():
            logging.basicConfig(level=logging.DEBUG)
        logging.getLogger("shop").debug("hello")

    assert ours.getvalue() == "OURS shop DEBUG hello\n"


def test_a_handler_of_the_applications_own_is_not_added_to() -> None:
    with taken_over():
        with free_to_configure():
            logging.basicConfig(handlers=[Intercept()])

        assert [type(handler) for handler in logging.getLogger().handlers] == [Intercept]


def test_what_a_logger_prints_itself_is_not_printed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    own = logging.StreamHandler(sys.stderr)
    own.setLevel(logging.WARNING)
    with_own, silent = logging.getLogger("with_own"), logging.getLogger("silent")
    monkeypatch.setattr(with_own, "handlers", [own])
    picky = logging.StreamHandler(sys.stderr)
    picky.addFilter(lambda record: False)
    silent_ones = [logging.NullHandler(), Sender(), logging.StreamHandler(io.StringIO()), picky]
    monkeypatch.setattr(silent, "handlers", silent_ones)

    with taken_over() as ours:
        with_own.warning("is printed by its own handler")
        logging.getLogger("with_own.below").warning("and this one by that of its parent")
        with_own.info("is below its handler's level")
        silent.info("is printed by nobody else")

    assert ours.getvalue().splitlines() == [
        "OURS with_own INFO is below its handler's level",
        "OURS silent INFO is printed by nobody else",
    ]
