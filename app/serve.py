"""`python -m app`: plain Uvicorn, one process. For Windows, where Gunicorn does not run, and a quick look."""

import asyncio
import importlib.util
import sys
from typing import Annotated

import uvicorn
from pydantic import AfterValidator, Field

from app.lifespan import NotReadyError, open_database
from app.settings import Settings, load

DRAIN_SECONDS = 20  # how long requests may take to end after Ctrl-C


def _address(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    if not host or host == "unix" or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError("not HOST:PORT")
    return bind


class ServeSettings(Settings):
    bind: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1:8000", description="HOST:PORT or [IPV6]:PORT"
    )


def serve() -> None:
    """Serves until SIGTERM or Ctrl-C. Ends the process with one sentence where it cannot."""
    settings = load(ServeSettings)
    _require_database(settings.database_url)
    host, _, port = settings.bind.rpartition(":")
    uvicorn.run(
        "app.main:app",
        host=host.strip("[]"),
        port=int(port),
        loop=event_loop(),
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def event_loop() -> str:
    """What Uvicorn takes for `loop`: winloop on Windows where it is installed, else Uvicorn's own choice."""
    if sys.platform == "win32" and importlib.util.find_spec("winloop"):
        return "winloop:new_event_loop"
    return "auto"


def _require_database(url: str) -> None:
    """Opens the database once: Uvicorn would answer one that cannot be opened with a traceback."""

    async def look() -> None:
        async with open_database(url):
            pass

    try:
        asyncio.run(look())
    except NotReadyError as error:
        raise SystemExit(str(error)) from None
