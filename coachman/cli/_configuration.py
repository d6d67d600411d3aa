"""Where each setting's value comes from: flag, environment, file of --env-file, project's files, default.

What a flag or a file says is put into the environment, from which everybody reads.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from coachman.cli._options import Given, flag
from coachman.settings import OTHER_NAMES, ServerSettings, load_settings, source_key
from coachman.system import gunicorn_file, project_file, setting_values
from coachman.system.addresses import with_parts
from coachman.system.gunicorn_file import GunicornFile

_PARTS = ("host", "port", "uds")


class Configuration(NamedTuple):
    """The settings, what was put into the environment for them, and who said so."""

    settings: ServerSettings
    sources: Mapping[str, str]  # name of a setting -> such as "--workers" or "gunicorn.conf.py"
    gunicorn: GunicornFile

    def source(self, name: str) -> str:
        """Such as "--workers", "COACHMAN_WORKERS" or "default"."""
        if name in self.sources:
            return self.sources[name]
        if any(os.environ.get(key) for key in _keys(name)) or name in project_file.read(Path.cwd()):
            return source_key(name, {})
        return "default"


def configure(application: str, given: Given) -> Configuration:
    """Reads everything, or ends the process with one sentence. `given` are the flags."""
    environment = os.environ
    given = given | ({"app": application} if application else {})
    sources = {name: flag(name) if name != "app" else "MODULE:APP" for name in given}
    _set(environment, _without_parts(given, environment))
    folder = Path.cwd()
    try:
        from_project = project_file.read(folder)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    if "env_file" in from_project and not environment.get("COACHMAN_ENV_FILE"):
        environment["COACHMAN_ENV_FILE"] = str(from_project["env_file"])
        sources["env_file"] = f"{project_file.NAME}: tool.coachman.env_file"
    sources |= _read_env_file(environment)
    gunicorn = gunicorn_file.read(folder)
    new = {
        name: value
        for name, value in gunicorn.settings.items()
        if name not in from_project and not any(environment.get(key) for key in _keys(name))
    }
    _set(environment, new)
    sources |= {name: f"{gunicorn_file.NAME}: {gunicorn.names[name]}" for name in new}
    return Configuration(load_settings(sources), sources, gunicorn)


def _keys(name: str) -> list[str]:
    return [f"COACHMAN_{name.upper()}", *([OTHER_NAMES[name]] if name in OTHER_NAMES else [])]


def _without_parts(given: Given, environment: Mapping[str, str]) -> Given:
    """--host, --port and --uds change the address that is set; --bind is the whole of it."""
    if not any(name in given for name in (*_PARTS, "bind")):
        return given
    rest = {name: value for name, value in given.items() if name not in _PARTS}
    port, uds = given.get("port"), given.get("uds")
    if port is not None and not (port.isdecimal() and int(port) <= 65535):
        raise SystemExit(f"--port {port} is refused: it must be a whole number from 0 to 65535.")
    if host := given.get("host"):
        try:
            setting_values.host(host)
        except ValueError:
            raise SystemExit(f"--host {host} is refused: it must be a host name or an IP address.") from None
    if uds and len(given.keys() & {"uds", "host", "port", "bind"}) > 1:
        raise SystemExit("--uds is refused beside --host, --port or --bind: it is an address of its own.")
    below = given.get("bind") or load_settings().bind
    for name in _PARTS:  # of lower rank, and in `below` already
        for key in _keys(name):
            os.environ.pop(key, None)
    return rest | {"bind": with_parts(below, given.get("host"), port, uds)}


def _read_env_file(environment: MutableMapping[str, str]) -> dict[str, str]:
    """What the environment has itself goes before the file, as with Uvicorn's --env-file."""
    name = environment.get("COACHMAN_ENV_FILE")
    if not name:
        return {}
    try:
        with open(name, encoding="utf-8") as file, _named(name):
            found = {key: value for key, value in dotenv_values(stream=file).items() if value is not None}
        new = {key: value for key, value in found.items() if key not in environment}
        environment.update(new)
    except (OSError, ValueError) as error:  # of UTF-8, and of a value that no environment can hold
        reason = getattr(error, "strerror", None) or str(error)
        raise SystemExit(f"--env-file {name} cannot be read: {reason.lower()}.") from None
    ours = {key.lower().removeprefix("coachman_"): key for key in new if key.startswith("COACHMAN_")}
    return {setting: f"{name}: {key}" for setting, key in ours.items()}


@contextlib.contextmanager
def _named(file: str) -> Iterator[None]:
    """Names the file in dotenv's warning of a line that is no NAME=VALUE, which it skips."""

    def name_it(record: logging.LogRecord) -> bool:
        record.msg = f"--env-file {file}: {record.msg}"
        return True

    logger = logging.getLogger("dotenv.main")
    logger.addFilter(name_it)
    try:
        yield
    finally:
        logger.removeFilter(name_it)


def _set(environment: MutableMapping[str, str], values: Mapping[str, Any]) -> None:
    environment.update({f"COACHMAN_{name.upper()}": str(value) for name, value in values.items()})
