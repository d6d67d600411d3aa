"""What a start says: one block for people, one line for machines."""

import os
import sys
from collections.abc import Sequence
from logging import Logger
from typing import NamedTuple

from coachman import __version__
from coachman.logs.formatters import TextFormatter
from coachman.state.events import Events

WITH_PRELOAD = "%s made at import %s. Make it in the lifespan, or set COACHMAN_PRELOAD=auto."
WITHOUT_PRELOAD = (
    "%s made at import %s. So each worker loads it itself, and a replacement takes as long as the import;"
    " make it in the lifespan, or set COACHMAN_PRELOAD."
)
_BOLD, _PLAIN = "\033[1m", "\033[0m"


class Start(NamedTuple):
    """The facts of a start."""

    application: str
    workers: str  # such as "2 workers (CPU affinity)"
    master_pid: int
    public: list[str]  # the addresses
    docs: str  # the path of the interactive docs, empty where there are none
    ops: list[str]


def announce(
    log: Logger, events: Events, start: Start, made_at_import: Sequence[str], *, is_preloaded: bool
) -> None:
    """Logs where the service listens and what it consists of. Runs in the master, once it listens.

    `made_at_import` is what the application made while it was loaded and workers cannot share.
    """
    events.record("started", f"{start.workers}, master pid {start.master_pid}")
    is_text = bool(log.handlers) and isinstance(log.handlers[0].formatter, TextFormatter)
    log.info("%s", block(start, bold=_is_coloured()) if is_text else line(start))
    if made_at_import:
        what = "; ".join(made_at_import)
        log.warning(WITH_PRELOAD if is_preloaded else WITHOUT_PRELOAD, start.application, what)


def block(start: Start, *, bold: bool) -> str:
    def strong(text: str) -> str:
        return f"{_BOLD}{text}{_PLAIN}" if bold else text

    docs = [f"  interactive docs  {at}{start.docs}" for at in start.public if start.docs]
    return "\n".join(
        [
            f"Coachman {__version__} serves {strong(start.application)}",
            *(f"  application       {strong(address)}" for address in start.public),
            *docs[:1],
            *(f"  status page       {address}/ (also /readyz, /metrics)" for address in start.ops),
            f"  processes         {start.workers}, master pid {start.master_pid}",
            "  Ctrl-C stops it; `coachman status` shows the workers",
        ]
    )


def line(start: Start) -> str:
    docs = f" (interactive docs: {start.public[0]}{start.docs})" if start.docs and start.public else ""
    ops = f"; status page: {', '.join(start.ops)}/" if start.ops else ""
    return (
        f"Coachman {__version__} serves {start.application} on {', '.join(start.public)}{docs}{ops};"
        f" {start.workers}, master pid {start.master_pid}"
    )


def _is_coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
