"""`coachman routes`: which routes the application has, and which are compiled."""

from typing import Annotated

import typer

from coachman.cli._configuration import configure
from coachman.cli._options import Given, with_options
from coachman.compiler.loading import compile_loaded
from coachman.system import app_loader

SOURCE = typer.Option(help="Print the compiled function of a route: its path, or its endpoint's name.")


@with_options
def routes(application: str, given: Given, *, source: Annotated[str, SOURCE] = "") -> None:
    """List the application's routes: method, path, compiled or the reason why not, and the endpoint."""
    settings = configure(application, given).settings
    found = app_loader.load(settings.app, str(settings.app_dir), factory=settings.factory)
    report = compile_loaded(found, "auto", settings.compile_leave)
    if report is None:
        raise SystemExit(f"{app_loader.loaded.name} is not compiled: FastAPI is not installed.")
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
