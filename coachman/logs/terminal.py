"""What is left out of the log at a terminal. A journal, a file and a pipe get every line."""

import logging
import sys

from coachman.logs.formatters import FIELDS

STOPPED = "stopped"  # the event of a worker that has ended as it was told to
DETAIL = {"is_detail": True}  # `extra` of a line of ours that another one says at a terminal
# Gunicorn's lines about what the block of the start, or the sentence of the stop, say for all processes.
# They are its own text, which no document fixes: where a new version changes one, it is shown again.
OF_GUNICORN = frozenset(
    {
        "Starting gunicorn %s",
        "Listening at: %s (%s)",
        "Using worker: %s",
        "Booting worker with pid: %s",
        "Worker exiting (pid: %s)",
        "Handling signal: %s",
        "Shutting down: %s",
    }
)
OF_UVICORN = frozenset({"Application startup failed. Exiting."})  # our own line before it says why


def is_terminal() -> bool:
    return sys.stderr.isatty()


def without_details(record: logging.LogRecord) -> bool:
    """The filter of a handler that writes to a terminal."""
    event = getattr(record, FIELDS, {}).get("event")
    is_detail = getattr(record, "is_detail", False) or record.msg in OF_GUNICORN | OF_UVICORN
    return not (is_detail or (event == STOPPED and record.levelno <= logging.INFO))
