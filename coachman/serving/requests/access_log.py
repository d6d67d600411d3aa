"""A line for each request, or for those that were slow or failed. Runs in the worker."""

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from coachman.logs.formatters import FIELDS, JsonFormatter, of_request, quoted
from coachman.system import stdio

Mode = Literal["off", "on", "slow"]
MOST_CACHED = 500  # of the encoded beginnings of lines: a method can be anything

log = logging.getLogger("coachman.access")


class AccessLog:
    """Logs the route, not the path: a path or a query may contain private data."""

    def __init__(self, mode: Mode, slow_seconds: float) -> None:
        self._logs_all, self._slow_seconds = mode == "on", slow_seconds
        self._lines = _lines()

    def log(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        if self._logs_all or status >= 500 or seconds >= self._slow_seconds:
            if self._lines is not None:
                self._lines.add(method, route, status, seconds, sent)
            else:
                _through_logging(method, route, status, seconds, sent)

    def flush(self) -> None:
        if self._lines is not None:
            self._lines.flush()


class PendingLine(NamedTuple):
    at: float
    request: str  # its ids, encoded
    method: str
    route: str
    status: int
    seconds: float
    sent: int


class _Lines:
    """The same lines for a fifth of the time: they are collected, and written ten times a second."""

    def __init__(self, form: JsonFormatter, write: Callable[[Iterable[str]], None]) -> None:
        self._form, self._write = form, write
        self._pending: list[PendingLine] = []

    def add(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        self._pending.append(PendingLine(time.time(), of_request(), method, route, status, seconds, sent))

    def flush(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            self._write(map(self._line, pending))

    def _line(self, line: PendingLine) -> str:
        message, fields = _encoded(line.method, line.route, line.status)
        return self._form.encoded_line(
            line.at,
            logging.INFO,
            log.name,
            f'"{message}{line.seconds:.3f} s, {line.sent} bytes"',
            f'{line.request}{fields}, "duration": {line.seconds:.6f}, "bytes": {line.sent}',
        )


@functools.lru_cache(MOST_CACHED)
def _encoded(method: str, route: str, status: int) -> tuple[str, str]:
    """What lines have in common: the beginning of the message, and of the fields."""
    message = quoted(f"{method} {route} {status} in ")[1:-1]
    return message, f', "method": {quoted(method)}, "route": {quoted(route)}, "status": {status}'


def _through_logging(method: str, route: str, status: int, seconds: float, sent: int) -> None:
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "duration": round(seconds, 6),
        "bytes": sent,
    }
    log.info("%s %s %d in %.3f s, %d bytes", method, route, status, seconds, sent, extra={FIELDS: fields})


def _handlers() -> list[logging.Handler]:
    """Returns those that an access line reaches."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = log
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def _lines() -> _Lines | None:
    """Returns what collects lines; None where the log's handlers were changed."""
    handlers = _handlers()
    if log.handlers or len(handlers) != 1 or not log.isEnabledFor(logging.INFO):
        return None
    form, stream = handlers[0].formatter, getattr(handlers[0], "stream", None)
    if stream is not sys.stderr or not isinstance(form, JsonFormatter):
        return None
    write = stdio.lines_writer(sys.stderr)
    return _Lines(form, write) if write is not None else None
