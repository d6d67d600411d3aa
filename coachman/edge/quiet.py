"""Clients that go away are no errors of the application."""

import logging
import sys


class NoDisconnects(logging.Filter):
    """Drops Uvicorn's report of an application that was told `http.disconnect` while it read a body.

    Starlette raises ClientDisconnect then, and Uvicorn logs what an application raises, 60 lines each time:
    whoever can reach the port could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        requests = sys.modules.get("starlette.requests")
        error = record.exc_info[1] if record.exc_info else None
        return requests is None or not isinstance(error, requests.ClientDisconnect)
