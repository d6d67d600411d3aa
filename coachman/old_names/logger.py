"""The old name of coachman.logs.gunicorn_logger, for a gunicorn.conf.py that hands no log format on."""

from coachman.logs.gunicorn_logger import logger_class
from coachman.settings import load_settings

Logger = logger_class(load_settings().log_format)
