"""`python -m app serve`: plain Uvicorn, one process. For Windows, for containers, and for a quick look."""

import asyncio
import contextlib
import importlib
import importlib.util
import re
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import uvicorn
from pydantic import AfterValidator, Field

from app.lifespan import NotReadyError, open_database
from app.settings import Settings, load

RLOOP, WINLOOP = "rloop:new_event_loop", "winloop:new_event_loop"


def _address(bind: str) -> str:
    if not bind.startswith("unix:/"):
        host, _, port = bind.rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError("neither HOST:PORT nor unix:/PATH")
    return bind


def _loop(loop: str) -> str:
    if loop not in ("auto", "uvloop", "asyncio", "rloop") and not re.fullmatch(r"[\w.]+:[\w.]+", loop):
        raise ValueError("no such loop")
    return loop


class ServeSettings(Settings):
    bind: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1:8000", description="HOST:PORT, [IPV6]:PORT or unix:/PATH"
    )
    loop: Annotated[str, AfterValidator(_loop)] = Field(
        "auto", description="auto, uvloop, asyncio, rloop or MODULE:FACTORY"
    )


def serve() -> None:
    """Serves until SIGTERM or Ctrl-C."""
    settings = load(ServeSettings)
    loop = loop_factory(settings.loop)
    _require_database(settings.database_url)
    listener = _listen(settings.bind)
    config = uvicorn.Config(
        "app.main:app", loop=loop, log_level=settings.log_level, timeout_graceful_shutdown=20
    )
    server = uvicorn.Server(config)
    _end_well_on_signals()
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(3)


def loop_factory(loop: str) -> str:
    """What Uvicorn takes for COACHMAN_LOOP. Ends the process when its package is not installed."""
    if loop == "auto" and sys.platform == "win32":
        return WINLOOP if importlib.util.find_spec("winloop") else "asyncio"
    if loop in ("auto", "asyncio"):
        return loop
    package = loop.partition(":")[0].partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise SystemExit(
            f"COACHMAN_LOOP={loop}: the package {package} is not installed; run: pip install {package}"
        )
    return _importable(RLOOP if loop == "rloop" else loop)


def _importable(loop: str) -> str:
    module, colon, factory = loop.partition(":")
    try:
        if colon and not hasattr(importlib.import_module(module), factory):
            raise SystemExit(f"COACHMAN_LOOP={loop}: the module {module} has no {factory}")
    except ImportError as error:
        raise SystemExit(f"COACHMAN_LOOP={loop}: {error}") from None
    return loop


def _require_database(url: str) -> None:
    async def look() -> None:
        async with open_database(url):
            pass

    try:
        asyncio.run(look())
    except NotReadyError as error:
        raise SystemExit(str(error)) from None


def _listen(bind: str) -> socket.socket:
    """A bound socket; bound here because Uvicorn answers a taken address with a traceback."""
    try:
        if bind.startswith("unix:"):
            return _listen_on_file(Path(bind.removeprefix("unix:")))
        host, _, port = bind.rpartition(":")
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        if sys.platform != "win32":  # there it would let two processes share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"COACHMAN_BIND={bind}: cannot listen there: {reason}; choose another") from None


def _listen_on_file(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()  # left behind by a process that was killed
    listener.bind(str(path))
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _end_well_on_signals() -> None:
    # Uvicorn shuts down and then raises the signal once more, on the handler that it found.
    def handle_stop(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, handle_stop)
    signal.signal(signal.SIGINT, handle_stop)
