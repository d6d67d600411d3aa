"""Drops Uvicorn's traceback for client disconnects, which are not errors of the application."""

import logging
import sys

EXCEPTIONS = (("starlette.requests", "ClientDisconnect"), ("starlette.websockets", "WebSocketDisconnect"))


class NoDisconnects(logging.Filter):
    """Drops Uvicorn's report of an application that was told of the end of its client.

    Starlette raises an exception then, and Uvicorn logs what an application raises, 60 lines each time:
    whoever can reach the port could fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and is_disconnect(record.exc_info[1]))


def is_disconnect(error: BaseException | None) -> bool:
    """Without importing Starlette, which not every application uses."""
    return any(
        module in sys.modules and isinstance(error, getattr(sys.modules[module], name))
        for module, name in EXCEPTIONS
    )
