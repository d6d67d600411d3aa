"""The root logger: the application configures it as it would anywhere, and where it does not, ours prints.

Under Uvicorn the root logger has no handler when the application is loaded. With one of ours
`logging.basicConfig` would do nothing, and a logger with a handler of its own would print each line twice.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence

# Their handlers send lines elsewhere and print none: who adds one still wants to read the log.
_SENDERS = ("opentelemetry", "sentry_sdk", "logfire", "ddtrace", "newrelic", "elasticapm")
_SAMPLE = logging.LogRecord("a", logging.INFO, "", 0, "b", None, None)


class RootHandler(logging.Handler):
    """Hands lines on to the handlers of Coachman's log, but for those that the application prints itself."""

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        if not is_printed_below_root(record):
            for handler in self._handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)


def set_up(handlers: Sequence[logging.Handler]) -> None:
    """Gives the root logger a handler of ours. Debug lines are shown where the application asks for them."""
    root = logging.getLogger()
    root.handlers = [RootHandler(handlers)]
    root.setLevel(logging.INFO)


@contextlib.contextmanager
def free_to_configure() -> Iterator[None]:
    """Leaves the root logger without a handler of ours, which is put back where nobody has configured it.

    What is logged meanwhile is printed all the same.
    """
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, RootHandler)]
    if not ours:  # they are the application's already
        yield
        return
    root.handlers = [handler for handler in root.handlers if handler not in ours]
    last_resort, logging.lastResort = logging.lastResort, ours[0]
    try:
        yield
    finally:
        logging.lastResort = last_resort
        root.handlers = choose(root.handlers, ours)


def choose(found: Sequence[logging.Handler], ours: Sequence[logging.Handler]) -> list[logging.Handler]:
    """Returns the root logger's handlers after the application has had it: its own, or ours."""
    theirs = [handler for handler in found if not _is_of_basic_config(handler)]
    if any(not _only_sends(handler) for handler in theirs):
        return theirs
    return [*ours, *theirs]


def is_printed_below_root(record: logging.LogRecord) -> bool:
    """Whether a logger below the root has printed the record to the terminal or the journal."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        for handler in logger.handlers:
            if _prints(handler) and record.levelno >= handler.level and not handler.filters:
                return True
        logger = logger.parent
    return False


def _prints(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    stream = getattr(handler, "stream", None)
    is_ours = stream is not None and any(stream is one for one in streams)
    return is_ours or hasattr(handler, "console")  # rich's


def _is_of_basic_config(handler: logging.Handler) -> bool:
    """Whether it is the one of `logging.basicConfig()` without a form, which `logging.info()` calls, too."""
    is_plain = type(handler) is logging.StreamHandler and _prints(handler)
    return is_plain and handler.format(_SAMPLE) == "INFO:a:b"


def _only_sends(handler: logging.Handler) -> bool:
    is_telemetry = type(handler).__module__.partition(".")[0] in _SENDERS
    return is_telemetry or isinstance(handler, logging.NullHandler)
