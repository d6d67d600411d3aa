"""`coachman routes`: which routes the application has, and which are compiled."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coachman.compiler.loading import compile_loaded
from coachman.settings import load_settings
from coachman.system.app_loader import load


def routes(
    source: Annotated[
        str, typer.Option(help="Print the compiled function of a route: its path, or its endpoint's name.")
    ] = "",
) -> None:
    """List the application's routes: method, path, compiled or the reason why not, and the endpoint."""
    sys.path.insert(0, str(Path.cwd()))
    settings = load_settings()
    report = compile_loaded(load(settings.app), "auto", settings.compile_leave)
    if report is None:
        raise SystemExit(f"{settings.app} is not compiled: FastAPI is not installed.")
    if source:
        text = report.source_of(source)
        if text is None:
            raise SystemExit(f"--source {source} is refused: no compiled route has this path or endpoint.")
        print(text, end="")
        return
    for route in report.routes:
        methods = ",".join(route.methods) or ("WS" if route.kind == "websocket" else "*")
        state = "compiled" if route.is_compiled else f"FastAPI: {route.reason}"
        print(f"{methods:10} {route.path:40} {state}  [{route.endpoint}]")
    print(report.summary() + (f"; {report.reason}" if report.reason else ""))
