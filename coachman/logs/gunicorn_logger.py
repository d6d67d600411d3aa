"""Gunicorn's `logger_class`: one format for the log lines of Gunicorn, Uvicorn and the application."""

import logging
from typing import Any, ClassVar

from gunicorn.glogging import Logger as GunicornLogger

from coachman.logs.formatters import Format, TextFormatter, formatter
from coachman.logs.terminal import is_terminal, without_details
from coachman.system import root_logger

GUNICORNS_CONFIGURATION = "Current configuration:"  # the beginning of a line of it, and of a hundred more


def attach(error_log: logging.Logger) -> None:
    """Has Coachman's loggers write where Gunicorn's error log does, unless they have own handlers."""
    ours = logging.getLogger("coachman")
    if not ours.handlers:
        ours.handlers, ours.propagate = error_log.handlers, False
    ours.setLevel(error_log.level)


def attach_uvicorn(error_log: logging.Logger) -> None:
    """Has Uvicorn's logger write where Gunicorn's error log does."""
    uvicorns = logging.getLogger("uvicorn.error")
    uvicorns.handlers, uvicorns.propagate = error_log.handlers, False
    uvicorns.setLevel(error_log.level)


class Logger(GunicornLogger):
    """Gunicorn's own options for the place of the log hold; those for its form go before ours."""

    log_format: ClassVar[Format] = "auto"

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        attach(self.error_log)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        form = formatter(self.log_format)
        for handler in self.error_log.handlers:
            handler.setFormatter(form)
            if is_terminal() and isinstance(form, TextFormatter):
                handler.addFilter(without_details)
        root_logger.set_up(self.error_log.handlers)  # for the application's lines, and its libraries'

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """As Gunicorn's, but for its whole configuration: `coachman check --show` prints what counts."""
        if not msg.startswith(GUNICORNS_CONFIGURATION):
            super().debug(msg, *args, **kwargs)


def logger_class(log_format: Format) -> type[Logger]:
    """For Gunicorn's `logger_class`: Gunicorn makes the object itself, and hands no setting of ours on."""
    return type("Logger", (Logger,), {"log_format": log_format})
