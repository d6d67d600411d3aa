"""The options of `run`, `dev`, `check` and `serve`: one for each setting, under the names people know."""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from coachman.settings import ServerSettings

Given = dict[str, str]  # of settings, as the environment would have them

# Beside --NAME-OF-THE-SETTING: what Uvicorn, Gunicorn or FastAPI's command call the same.
_OTHER_FLAGS = {
    "workers": ("-w",),
    "bind": ("-b",),
    "certfile": ("--ssl-certfile",),
    "keyfile": ("--ssl-keyfile",),
    "trusted_proxies": ("--forwarded-allow-ips",),
    "keepalive_seconds": ("--timeout-keep-alive", "--keep-alive"),
    "drain_seconds": ("--timeout-graceful-shutdown", "--graceful-timeout"),
    "hang_seconds": ("--timeout", "-t"),
    "max_requests": ("--limit-max-requests",),
}
_COMMON = (
    *("host", "port", "bind", "uds", "workers", "app_dir", "factory", "env_file", "root_path"),
    *("preload", "loop", "log_level", "log_format", "access_log", "trusted_proxies", "ops_bind"),
    *("certfile", "keyfile"),
)
_HELP = {
    "host": "The host to listen on; 0.0.0.0 for all IPv4 addresses of this machine.",
    "port": "The port to listen on.",
    "bind": "Where the application is served: HOST:PORT, [IPV6]:PORT or unix:/PATH.",
    "uds": "A unix socket to listen on, behind a proxy on this machine.",
    "workers": "Worker processes; as many as the CPUs that may be used when not given.",
    "app_dir": "The folder that the application is imported from.",
    "factory": "Take MODULE:APP for a function that makes the application.",
    "env_file": "A file of NAME=VALUE lines, for the application and for these settings.",
    "root_path": "The path prefix that a proxy in front strips.",
    "preload": "Import the application once and fork it, or in each worker; by itself what is safe.",
    "loop": "auto, uvloop, asyncio, rloop or MODULE:FACTORY.",
    "log_level": "debug, info, warning, error or critical.",
    "log_format": "auto, json or text.",
    "access_log": "A line for each request; when not given, for slow and failed ones.",
    "trusted_proxies": "Whose X-Forwarded-For is believed: addresses or networks, or *.",
    "certfile": "Serve https with this certificate, in PEM form; a renewed one is taken without a restart.",
    "keyfile": "The key of --certfile, where it is not in the same file.",
    "ops_bind": "Where the status page, /readyz and /metrics are served.",
}
_IN_THE_FILE = "is refused: set it in gunicorn.conf.py, which is read from this folder."
_DECIDED = "is refused: it is decided here; leave it away (docs/migrating.md)."
# Of Uvicorn's and Gunicorn's command lines: (flags, kind), and what to do instead.
_REFUSED: dict[tuple[tuple[str, ...], type], str] = {
    (("--reload",), bool): "is refused: `coachman dev` starts anew when a file changes.",
    (("--worker-class", "-k"), str): "is refused: Coachman's own worker serves; leave it away.",
    (("--proxy-headers",), bool): "is refused: name the proxy with --forwarded-allow-ips.",
    (("--limit-concurrency", "--worker-connections"), str): "is refused: --connections is the limit.",
    (("--threads",), str): "is refused: a worker has one event loop; set --workers.",
    (("--log-config",), str): "is refused: --log-level and --log-format are for Coachman's lines, and the"
    " application sets up its own.",
    (("--fd",), str): "is refused: systemd hands sockets in (docs/deploy.md).",
    (("--ssl-keyfile-password",), str): "is refused: decrypt the key (openssl pkey -in KEY -out KEY).",
    (("--config", "-c"), str): "is refused: gunicorn.conf.py is read from this folder.",
    (("--http", "--ws", "--interface", "--lifespan", "--backlog"), str): _DECIDED,
    (("--daemon", "-D"), bool): "is refused: run it under systemd (docs/deploy.md), or end the line with &.",
    (("--pid", "-p", "--user", "-u", "--group", "-g", "--name", "-n", "--umask"), str): _IN_THE_FILE,
    (("--ssl-ca-certs", "--ca-certs", "--ssl-ciphers", "--ciphers"), str): _IN_THE_FILE,
    (
        ("--access-logfile", "--error-logfile", "--log-file"),
        str,
    ): "is refused: the log goes to standard error, with --access-log each request too.",
}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command of (application, settings given) the argument MODULE:APP and the options.

    Keyword-only parameters of the command are options of its own.
    """

    @functools.wraps(command)
    def parsed(application: str, **options: Any) -> None:
        for number, ((flags, _), sentence) in enumerate(_REFUSED.items()):
            if options[f"refused_{number}"]:
                raise SystemExit(f"{_written(flags)} {sentence}")
        command(application, _given(options), **{one.name: options[one.name] for one in own})

    own = [one for one in inspect.signature(command).parameters.values() if one.kind is one.KEYWORD_ONLY]
    fields = ServerSettings.model_fields
    names = [*_COMMON, *(name for name in fields if name not in (*_COMMON, "app"))]
    parameters = [
        _application(),
        *(one.replace(kind=one.POSITIONAL_OR_KEYWORD) for one in own),
        *(_option(name, fields[name]) for name in names),
        *(
            _parameter(f"refused_{number}", kind | None, None, typer.Option(*flags, hidden=True))
            for number, (flags, kind) in enumerate(_REFUSED)
        ),
    ]
    parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    parsed.__annotations__ = {one.name: one.annotation for one in parameters}
    return parsed


def flag(name: str) -> str:
    """The option of a setting, as it is shown."""
    return f"--{name.replace('_', '-')}"


def _written(flags: Sequence[str]) -> str:
    """Which of the flags the command line has."""
    words = [word.partition("=")[0] for word in sys.argv]
    return next((one for one in flags if one in words), flags[0])


def _application() -> inspect.Parameter:
    told = "The application, such as main:app, main.py or main:create_app(); looked for when not given."
    argument = typer.Argument(metavar="MODULE:APP", help=told, show_default=False)
    return _parameter("application", str, "", argument)


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    panel = "Options" if name in _COMMON else "All other settings (docs/settings.md)"
    told = _HELP.get(name) or f"{field.description}."
    if field.annotation in (bool, bool | None) or name == "access_log":
        switch = f"{flag(name)}/{flag(name).replace('--', '--no-', 1)}"
        return _parameter(name, bool | None, None, typer.Option(switch, help=told, rich_help_panel=panel))
    flags = (flag(name), *_OTHER_FLAGS.get(name, ()))
    metavar = name.rpartition("_")[2].upper()
    option = typer.Option(*flags, help=told, metavar=metavar, rich_help_panel=panel)
    return _parameter(name, str | None, None, option)


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, place, default=default, annotation=Annotated[kind, option])


def _given(options: dict[str, Any]) -> Given:
    fields = ServerSettings.model_fields
    given = {name: value for name, value in options.items() if name in fields and value is not None}
    return {name: _as_text(value) for name, value in given.items()}


def _as_text(value: bool | str | Path) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
