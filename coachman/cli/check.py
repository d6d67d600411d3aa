"""`coachman check`: would a master start from here?"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from coachman.cli._configuration import Configuration, configure
from coachman.cli._options import Given, with_options
from coachman.compiler.loading import compile_loaded
from coachman.settings import ServerSettings, misspelled_settings
from coachman.state import runtime_dir
from coachman.system import app_finder, app_loader, import_effects
from coachman.system.event_loop import loop_factory
from coachman.system.sockets import are_handed_in, parse_address, require_free
from coachman.system.tls import make_tls

if TYPE_CHECKING:
    from coachman.compiler import Report


@with_options
def check(application: str, given: Given, *, show: Annotated[bool, typer.Option("--show")] = False) -> None:
    """Read the settings and load the application, as a master would; say what is wrong in one sentence."""
    configuration = configure(application, given)
    settings = configuration.settings
    for sentence in misspelled_settings():
        print(sentence)
    if show:
        _show(configuration)
    loop_factory(settings.loop)
    make_tls(settings.certfile, settings.keyfile)
    refuse_taken(settings)
    if configuration.source("ops_bind") != "default":  # another one is found for that
        refuse_taken(settings, "ops_bind")
    application = app_loader.load(settings.app, str(settings.app_dir), factory=settings.factory)
    report = compile_loaded(application, settings.compile, settings.compile_leave)
    name, made_at_import = app_loader.loaded
    print(f"{name} loads; {_workers(settings)}; public {settings.bind}, operations {settings.ops_bind}")
    if report is not None and any(route.kind == "api" for route in report.routes):
        _print_compiled(report)
    if settings.preload is not False:
        _print_made_at_import(made_at_import, is_shared=bool(settings.preload))
    if settings.workers and "WEB_CONCURRENCY" in os.environ and "COACHMAN_WORKERS" in os.environ:
        print("COACHMAN_WORKERS is set, so WEB_CONCURRENCY is not used.")
    import_effects.end_children()
    import_effects.leave_threads()


def refuse_taken(settings: ServerSettings, name: str = "bind") -> None:
    """Ends the process when an address is taken by somebody other than the service of this folder."""
    if not are_handed_in() and not runtime_dir.scoreboards(settings.runtime_dir):
        require_free(f"COACHMAN_{name.upper()}", parse_address(getattr(settings, name)))


def _workers(settings: ServerSettings) -> str:
    count, decided_by = settings.worker_count()
    return f"{count} workers ({decided_by})"


def _print_made_at_import(found: list[str], *, is_shared: bool) -> None:
    for made in found:
        print(f"{import_effects.FOUND}{made}")
    if found and is_shared:
        print("Make it in the lifespan, or set COACHMAN_PRELOAD=auto.")
    elif found:
        print("So each worker will load the application itself, unless it is made in the lifespan.")


def _show(configuration: Configuration) -> None:
    rows = [
        (f"COACHMAN_{name.upper()}", _shown(name, value), configuration.source(name))
        for name, value in configuration.settings
    ]
    if not configuration.settings.app and (found := app_finder.default_place(configuration.settings.app_dir)):
        rows[0] = (rows[0][0], found, "found here")
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for key, value, source in rows:
        print(f"{key:{widths[0]}}  {value:{widths[1]}}  {source}")
    for name in configuration.gunicorn.unused:
        print(f"gunicorn.conf.py: {name} is not used; see docs/migrating.md")


def _shown(name: str, value: object) -> str:
    if value is None:
        return "auto" if name == "preload" else "not set"
    return str(value)


def _print_compiled(report: "Report") -> None:
    print(f"{report.summary()}; `coachman routes` lists them.")
    for reason, routes in report.reasons().items():
        paths = [route.path for route in routes if route.kind == "api"]
        if paths:
            print(f"  left to FastAPI, {reason}: {', '.join(paths[:5])}{', ...' if len(paths) > 5 else ''}")
    if report.reason:
        print(f"  {report.reason}")
