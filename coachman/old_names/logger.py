"""The old name of what it imports."""

from coachman.logs.gunicorn_logger import Logger as Logger
