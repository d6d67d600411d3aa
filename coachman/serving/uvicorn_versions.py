"""The differences between Uvicorn's versions, in this file only. pyproject.toml has the oldest one."""

import importlib
from typing import Any

_SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"


def websocket_protocol() -> str:
    """The name that Uvicorn's configuration has for the WebSocket protocol.

    The newer of its two is there since 0.35, and pings idle clients since 0.44. Before, the older one does.
    """
    try:
        protocol = importlib.import_module(_SANSIO).WebSocketsSansIOProtocol
    except ModuleNotFoundError:
        return "websockets"
    return "websockets-sansio" if hasattr(protocol, "schedule_ping") else "websockets"


def is_open_websocket(connection: Any) -> bool:
    """Whether it is a WebSocket connection, of either protocol, that has completed its handshake."""
    completed = getattr(connection, "handshake_completed_event", None)
    if completed is not None:
        return bool(completed.is_set())
    return bool(getattr(connection, "handshake_complete", False))
