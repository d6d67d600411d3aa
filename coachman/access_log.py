"""A line for each request, or for those that were slow or failed. Runs in the worker."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

from coachman import output
from coachman.logs import FIELDS, JsonFormatter, quoted

Mode = Literal["off", "on", "slow"]
Write = Callable[[str, str, int, float, int], None]  # method, route, status, seconds, bytes

log = logging.getLogger("coachman.access")


class AccessLog:
    """Names the route, not the path: what a path or a query contains may be nobody's business."""

    def __init__(self, mode: Mode, slow_seconds: float) -> None:
        self._tells_all, self._slow_seconds = mode == "on", slow_seconds
        self._write = _direct() or _through_logging

    def tell(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        if self._tells_all or status >= 500 or seconds >= self._slow_seconds:
            self._write(method, route, status, seconds, sent)


def _through_logging(method: str, route: str, status: int, seconds: float, sent: int) -> None:
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "duration": round(seconds, 6),
        "bytes": sent,
    }
    log.info("%s", _sentence(method, route, status, seconds, sent), extra={FIELDS: fields})


def _sentence(method: str, route: str, status: int, seconds: float, sent: int) -> str:
    return f"{method} {route} {status} in {seconds:.3f} s, {sent} bytes"


def _direct() -> Write | None:
    """The same line for a third of the time, where nobody has changed how lines are written."""
    handlers = logging.getLogger().handlers
    if log.handlers or len(handlers) != 1 or not log.isEnabledFor(logging.INFO):
        return None
    form, stream = handlers[0].formatter, getattr(handlers[0], "stream", None)
    if stream is not sys.stderr or not isinstance(form, JsonFormatter):
        return None
    write_line = output.line_writer(sys.stderr)
    if write_line is None:
        return None

    def write(method: str, route: str, status: int, seconds: float, sent: int) -> None:
        message = _sentence(method, route, status, seconds, sent)
        fields = (
            f', "method": {quoted(method)}, "route": {quoted(route)}, "status": {status}'
            f', "duration": {seconds:.6f}, "bytes": {sent}'
        )
        write_line(form.line(time.time(), logging.INFO, log.name, message, fields))

    return write
