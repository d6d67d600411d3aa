"""Compiles the application that has been loaded, as the settings say. Runs in the master, before any fork."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coachman.compiler import Report

latest: Report | None = None  # of the application that this process serves

log = logging.getLogger("coachman.compiler")


def compile_loaded(application: Any, mode: str, leave: Collection[str] = ()) -> Report | None:
    """Compiles the application in place, unless `mode` is off; returns what has come of it.

    `leave`: routes that FastAPI answers in any case, by path or by the endpoint's name. Ends the process
    with one sentence if `mode` is require and a route of FastAPI's is not compiled for another reason.
    """
    global latest
    if mode == "off":
        return None
    try:
        from coachman.compiler import compile_app
    except ImportError as error:  # an application without FastAPI
        if mode == "require":
            raise SystemExit(f"COACHMAN_COMPILE=require is refused: {error}.") from None
        return None
    report = latest = compile_app(application, leave=leave)
    if mode == "require" and (why := report.why_incomplete()):
        raise SystemExit(
            f"COACHMAN_COMPILE=require is refused: {why}. `coachman routes` lists all; with"
            " COACHMAN_COMPILE=auto FastAPI answers what is not compiled."
        )
    return report


def announce(report: Report | None) -> None:
    """Logs what has come of it: one line, and one for each reason that an upgrade or a tool has brought."""
    if report is None:
        return
    if report.routes:
        why = f"; {report.reason}" if report.reason else ""
        took = f" in {report.seconds:.2f} s" if report.compiled else ""
        log.info("%s%s%s", report.summary(), took, why)
    for notice in report.notices:
        log.warning("Routes are left to FastAPI: %s", notice)
