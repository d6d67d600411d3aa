"""The gunicorn.conf.py of a project that comes from Gunicorn: what of it holds for Coachman."""

import functools
import inspect
import logging
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

NAME = "gunicorn.conf.py"
OURS = "coachman.gunicorn_config"
# Which Coachman has, too, and what each is called with.
HOOKS = {
    "on_starting": ("server",),
    "when_ready": ("server",),
    "pre_fork": ("server", "worker"),
    "post_fork": ("server", "worker"),
    "pre_exec": ("server",),
    "on_exit": ("server",),
}

# Gunicorn's others, which Coachman leaves alone.
_OTHER_HOOKS = (
    *("child_exit", "worker_exit", "worker_int", "worker_abort", "nworkers_changed"),
    *("post_worker_init", "pre_request", "post_request"),
)
# Without what these do nothing should serve. An error in another one costs what that one does.
_NEEDED = ("on_starting", "when_ready", "post_fork", "post_worker_init")

Convert = Callable[[Any], str | None]
log = logging.getLogger("gunicorn.error")


class GunicornFile(NamedTuple):
    """The settings of the file, sorted by how they are used."""

    settings: dict[str, str]  # of ours, which stand for one of Gunicorn's
    names: dict[str, str]  # of Gunicorn's, by those of ours
    values: dict[str, Any]  # which Gunicorn's master takes as they are
    hooks: dict[str, Callable[..., Any]]  # which run after Coachman's
    unused: list[str]  # names that have no effect here
    is_ours: bool = False  # it imports Coachman's values


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _one_address(value: Any) -> str | None:
    addresses = value if isinstance(value, (list, tuple)) else str(value).split(",")
    return str(addresses[0]) if len(addresses) == 1 else None


def _if_set(value: Any) -> str | None:
    return str(value) if value else None  # 0 is "never" for Gunicorn, and no value for us


def _switch(value: Any) -> str | None:
    return "on" if value else "off"


# Gunicorn's name -> ours, and how its values are written.
_SETTINGS: dict[str, tuple[str, Convert]] = {
    "wsgi_app": ("app", _text),
    "bind": ("bind", _one_address),
    "workers": ("workers", _text),
    "keepalive": ("keepalive_seconds", _if_set),
    "timeout": ("hang_seconds", _if_set),
    "graceful_timeout": ("drain_seconds", _if_set),
    "max_requests": ("max_requests", _text),
    "loglevel": ("log_level", _text),
    "accesslog": ("access_log", lambda value: "on" if value else None),
    "preload_app": ("preload", _switch),
    "forwarded_allow_ips": ("trusted_proxies", _text),
    "pythonpath": ("app_dir", _text),
    "root_path": ("root_path", _if_set),
    "certfile": ("certfile", _text),
    "keyfile": ("keyfile", _text),
    "limit_request_line": ("target_bytes", _if_set),
    "limit_request_fields": ("head_fields", _if_set),
}
# Coachman's worker, its log and its own supervision stand in their place.
_UNUSED = (
    *("worker_class", "worker_connections", "threads", "worker_tmp_dir", "reuse_port"),
    *("max_requests_jitter", "limit_request_field_size", "logger_class", "access_log_format"),
    *("daemon", "chdir", "check_config", "print_config"),
    *("reload", "reload_engine", "reload_extra_files", "control_socket", "control_socket_disable"),
)


def read(folder: Path) -> GunicornFile:
    """Runs the file, as Gunicorn does. One that raises ends the process with one sentence."""
    path = folder / NAME
    nothing = GunicornFile({}, {}, {}, {}, [])
    if not path.is_file():
        return nothing
    if OURS in path.read_text(encoding="utf-8", errors="replace"):
        return nothing._replace(is_ours=True)
    return _sort(run(path))


def run(path: Path) -> dict[str, Any]:
    """Returns the names that the file defines, without those of Python. It may import from its folder."""
    before = list(sys.path)
    sys.path.insert(0, str(path.absolute().parent))
    try:
        found = runpy.run_path(str(path))
    except SystemExit as end:
        raise SystemExit(f"{path.name} ended the program: sys.exit({end.code!r}).") from None
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises ends in one sentence
        traceback.print_exception(error, limit=-1, file=sys.stderr)
        raise SystemExit(f"{path.name} failed: {type(error).__name__}: {error}") from None
    finally:
        sys.path[:] = before  # else its folder would hide modules of Python's that are imported later
    return {name: value for name, value in found.items() if not name.startswith("_")}


def _hook(name: str, value: Any) -> Callable[..., Any]:
    arguments = HOOKS[name]
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError:  # it is no function, or one of other arguments
        raise SystemExit(
            f"{NAME}: {name} is refused: it must be a function of {', '.join(arguments)}."
        ) from None
    return _guarded(name, value)


def _guarded(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    """Has an error in the hook end the start with one sentence, or be logged and end nothing."""

    @functools.wraps(hook)  # Gunicorn counts its parameters
    def guarded(*arguments: Any) -> Any:
        try:
            return hook(*arguments)
        except Exception as error:  # noqa: BLE001 - of the user's file, as above
            place = traceback.extract_tb(error.__traceback__)[-1]
            sentence = (
                f"{NAME}: {name} failed: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            )
            if name in _NEEDED:
                raise SystemExit(sentence) from None
            log.error("%s. The service goes on.", sentence)
            return None

    return guarded


def _sort(found: dict[str, Any]) -> GunicornFile:
    file = GunicornFile({}, {}, {}, {}, [])
    for name, value in found.items():
        if name in _SETTINGS:
            ours, convert = _SETTINGS[name]
            text = convert(value)
            if text is not None:
                file.settings[ours], file.names[ours] = text, name
            elif name == "bind":
                file.values[name] = value
        elif name in HOOKS:
            file.hooks[name] = _hook(name, value)
        elif name in _OTHER_HOOKS and callable(value):
            file.values[name] = _guarded(name, value)
        elif name in _UNUSED:
            file.unused.append(name)
        else:
            file.values[name] = value
    return file
