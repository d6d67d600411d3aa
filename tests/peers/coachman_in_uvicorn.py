"""Puts our protocol into Uvicorn's tests: `pytest -p coachman_in_uvicorn`, where its sources are."""

from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from coachman.edge.connection_table import ConnectionTable
from coachman.edge.http import HttpProtocol
from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectionCounts

LIMITS = Limits(
    head_seconds=10,
    head_bytes=32 * 1024,
    head_fields=100,
    target_bytes=8 * 1024,
    body_bytes=1024**2,
    body_bytes_below=(),
    body_seconds=10,
    answer_seconds=20,
    connections=1000,
    most_connections=2000,
)


class WithLimits(HttpProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, table=ConnectionTable(LIMITS, RejectionCounts()), **kwargs)


httptools_impl.HttpToolsProtocol = WithLimits  # type: ignore[misc]  # before Uvicorn's conftest.py imports it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives Uvicorn's mocks what a real transport and a real loop have, and ours use."""
    for module in {item.module for item in items if isinstance(item, pytest.Function)}:
        if hasattr(module, "MockTransport"):
            complete_transport(module.MockTransport)
        if hasattr(module, "MockLoop"):
            complete_loop(module.MockLoop)


def complete_transport(transport: Any) -> None:
    transport.write_eof = transport.close  # the tests ask whether the connection ends
    transport.abort = lambda self: None
    transport.get_write_buffer_size = lambda self: 0


def complete_loop(loop: Any) -> None:
    """A callback runs behind the task that has asked for it."""
    run_one = loop.run_one

    def call_soon(self: Any, callback: Callable[..., None], *args: Any) -> None:
        vars(self).setdefault("soon", []).append((callback, args))

    async def run_one_and_callbacks(self: Any) -> None:
        await run_one(self)
        while callbacks := vars(self).pop("soon", []):
            for callback, args in callbacks:
                callback(*args)

    loop.call_soon, loop.run_one = call_soon, run_one_and_callbacks
