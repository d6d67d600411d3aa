"""A line for each request, or for those that were slow or failed. Runs in the worker."""

import logging
from typing import Literal

from coachman.logs import FIELDS

Mode = Literal["off", "on", "slow"]

log = logging.getLogger("coachman.access")


class AccessLog:
    """Names the route, not the path: what a path or a query contains may be nobody's business."""

    def __init__(self, mode: Mode, slow_seconds: float) -> None:
        self._tells_all, self._slow_seconds = mode == "on", slow_seconds

    def tell(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        if self._tells_all or status >= 500 or seconds >= self._slow_seconds:
            fields = {
                "method": method,
                "route": route,
                "status": status,
                "duration": round(seconds, 6),
                "bytes": sent,
            }
            log.info(
                "%s %s %s in %.3f s, %s bytes", method, route, status, seconds, sent, extra={FIELDS: fields}
            )
