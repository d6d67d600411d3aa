"""A line for each request, or for those that were slow or failed. Runs in the worker."""

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

from coachman.logs import FIELDS, JsonFormatter, encoded

Mode = Literal["off", "on", "slow"]

log = logging.getLogger("coachman.access")


class AccessLog:
    """Names the route, not the path: what a path or a query contains may be nobody's business."""

    def __init__(self, mode: Mode, slow_seconds: float) -> None:
        self._tells_all, self._slow_seconds = mode == "on", slow_seconds
        self._write = _direct() or _through_logging

    def tell(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        if self._tells_all or status >= 500 or seconds >= self._slow_seconds:
            fields = {
                "method": method,
                "route": route,
                "status": status,
                "duration": round(seconds, 6),
                "bytes": sent,
            }
            self._write(f"{method} {route} {status} in {seconds:.3f} s, {sent} bytes", fields)


def _through_logging(message: str, fields: dict[str, Any]) -> None:
    log.info("%s", message, extra={FIELDS: fields})


def _direct() -> Callable[[str, dict[str, Any]], None] | None:
    """The same line for a third of the time, where nobody has changed how lines are written."""
    handlers = logging.getLogger().handlers
    if log.handlers or len(handlers) != 1 or not log.isEnabledFor(logging.INFO):
        return None
    [handler] = handlers
    form = handler.formatter
    if type(handler) is not logging.StreamHandler or not isinstance(form, JsonFormatter):
        return None

    def write(message: str, fields: dict[str, Any]) -> None:
        line = form.line(time.time(), logging.INFO, log.name, message, encoded(fields))
        handler.acquire()
        try:
            handler.stream.write(line + "\n")
            if not handler.stream.line_buffering:
                handler.stream.flush()
        finally:
            handler.release()

    return write
