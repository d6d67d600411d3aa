"""Gunicorn's `logger_class`: one form for the lines of everybody."""

import logging
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from coachman.logs.formatters import formatter
from coachman.settings import load_settings


def attach(error_log: logging.Logger) -> None:
    """Has Coachman's loggers write where Gunicorn's error log does, unless they have own handlers."""
    ours = logging.getLogger("coachman")
    if not ours.handlers:
        ours.handlers, ours.propagate = error_log.handlers, False
    ours.setLevel(error_log.level)


class Logger(GunicornLogger):
    """Gunicorn's own options for the place of the log hold; those for its form go before ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        attach(self.error_log)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        form = formatter(load_settings().log_format)
        for handler in self.error_log.handlers:
            handler.setFormatter(form)
        # The application's lines, and its libraries'. Their debug lines may hold what nobody should read.
        root = logging.getLogger()
        root.handlers = list(self.error_log.handlers)
        root.setLevel(max(self.loglevel, logging.INFO))
