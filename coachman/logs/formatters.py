"""The form of a log line, the same for Gunicorn, Uvicorn, the application and us.

JSON for machines (a journal, a pipe, a file), text for people at a terminal.
"""

import functools
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from coachman.logs import request_id
from coachman.system import root_logger
from coachman.system.process import release_name

Format = Literal["auto", "json", "text"]
FIELDS = "fields"  # what a record brings beside its message: extra={FIELDS: {...}}
_OURS = ("gunicorn", "uvicorn", "coachman")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
quoted = json.encoder.encode_basestring

_process: dict[str, Any] = {"release": release_name()}
_encoded_process = ""


def identify(**fields: Any) -> None:
    """Sets the fields that all further log lines of this process carry."""
    global _encoded_process
    _process.update(fields)
    _encoded_process = _encode(_process)[1:-1]


def formatter(wanted: Format) -> logging.Formatter:
    is_text = sys.stderr.isatty() if wanted == "auto" else wanted == "text"
    return TextFormatter() if is_text else JsonFormatter()


def write_to_stderr(wanted: Format, level: str) -> None:
    """Sets up logging to stderr without Gunicorn, in the form that gunicorn_logger.py gives it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(wanted))
    lowest = logging.getLevelNamesMapping()[level.upper()]
    root_logger.set_up([handler])
    for name in ("coachman", "gunicorn.error", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(lowest)


class TextFormatter(logging.Formatter):
    """Gunicorn's own form, and the request's id where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] [%(levelname)s] %(message)s", "[%Y-%m-%d %H:%M:%S %z]")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        if not record.name.startswith(_OURS):
            record.message = f"{record.name}: {record.message}"
        if identifier := request_id.current.get():
            record.message = f"{record.message} [{identifier}]"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One line a record, whatever it contains."""

    def __init__(self) -> None:
        super().__init__()
        self._has_priorities = _is_journal()
        self._second, self._moment = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        told = of_request() + (f", {_encode(fields)[1:-1]}" if fields else "")
        return self.encoded_line(
            record.created, record.levelno, record.name, quoted(record.getMessage()), told
        )

    def encoded_line(self, created: float, level: int, logger: str, message: str, fields: str) -> str:
        """`message` and `fields` are encoded already: the access log writes a line for each request."""
        return (
            f'{self._begin(level)}"time": "{self._time(created)}"{_of_source(level, logger)}, '
            f'"message": {message}, {_of_process()}{fields}}}'
        )

    def _begin(self, level: int) -> str:
        return f"<{_priority(level)}>{{" if self._has_priorities else "{"

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._moment = second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._moment}.{int(created % 1 * 1000):03d}+00:00"


@functools.lru_cache(500)
def _of_source(level: int, logger: str) -> str:
    return f', "level": "{logging.getLevelName(level).lower()}", "logger": {quoted(logger)}'


def _of_process() -> str:
    if _process.get("pid") != os.getpid():
        identify(pid=os.getpid())
    return _encoded_process


def of_request() -> str:
    """Returns the id of the current request, and its trace where the application traces requests."""
    identifier = request_id.current.get()
    told = f', "request_id": "{identifier}"' if identifier else ""
    if "opentelemetry.sdk.trace" in sys.modules:  # without it no span is ever real
        from opentelemetry import trace

        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            told += f', "trace_id": "{trace.format_trace_id(context.trace_id)}"'
    return told


def readable(line: str) -> str:
    """A line of either form as people read it."""
    try:
        fields = json.loads(line[line.index("{") :])
        return f"[{fields['level'].upper()}] {fields['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


def _is_journal() -> bool:
    """Whether stderr is systemd's journal, which takes <N> at the beginning of a line for its priority."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _priority(level: int) -> int:
    return next((priority for lowest, priority in _PRIORITIES if level >= lowest), 7)
