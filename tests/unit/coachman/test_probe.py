import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from coachman.serving.probe import fault_of_probe


class Answering(asyncio.Protocol):
    """Answers whatever comes with these bytes; with none it closes, with None it says nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport  # uvloop's is of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"GET /health HTTP/1.1\r\nHost: ")
        if self._answer is not None:
            self._transport.write(self._answer)
            self._transport.close()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, None])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "it answered GET /health with 503"),
        (b"", "it closed the connection of GET /health without an answer"),
        (None, "it did not answer GET /health within 0.1 s"),
    ],
)
def test_a_probe_is_answered_below_500(
    answer: bytes | None, fault: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    if loop_factory is None:
        loop_factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(fault_of_probe(lambda: Answering(answer), "/health", 0.1)) == fault
