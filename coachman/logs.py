"""The form of a log line, the same for Gunicorn, Uvicorn, the application and us.

JSON for machines (a journal, a pipe, a file), text for people at a terminal.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from coachman import request_id
from coachman.process import release_name

Format = Literal["auto", "json", "text"]
FIELDS = "fields"  # what a record brings beside its message: extra={FIELDS: {...}}
_OURS = ("gunicorn", "uvicorn", "coachman")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

_process: dict[str, Any] = {"release": release_name()}


def identify(**fields: Any) -> None:
    """From here on all lines of this process carry these."""
    _process.update(fields)


def formatter(wanted: Format) -> logging.Formatter:
    is_text = sys.stderr.isatty() if wanted == "auto" else wanted == "text"
    return TextFormatter() if is_text else JsonFormatter()


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

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_process,
            "pid": record.process,
        }
        if identifier := request_id.current.get():
            line["request_id"] = identifier
        line.update(_trace())
        line.update(getattr(record, FIELDS, {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False, default=str)
        return f"<{_priority(record.levelno)}>{text}" if self._has_priorities else text


def readable(line: str) -> str:
    """A line of either form as people read it."""
    try:
        fields = json.loads(line[line.index("{") :])
        return f"[{fields['level'].upper()}] {fields['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return line


def _trace() -> dict[str, str]:
    """Where the application traces its requests: which trace has this line's."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else {}


def _is_journal() -> bool:
    """Whether stderr is systemd's journal, which takes <N> at the beginning of a line for its priority."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _priority(level: int) -> int:
    return next((priority for lowest, priority in _PRIORITIES if level >= lowest), 7)
