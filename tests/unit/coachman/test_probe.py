import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from coachman.edge.connection_table import ConnectionTable
from coachman.edge.http import HttpProtocol
from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectionCounts
from coachman.serving.probe import fault_of_probe, probe_seconds
from coachman.settings import ServerSettings


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


@pytest.mark.parametrize(
    ("boot_seconds", "since_fork", "seconds"),
    [(60, 4.0, 55.0), (3, 0.5, 1.5), (1, 0.9, 0.5), (60, 3600, 0.5)],
)
def test_a_probe_has_less_time_than_the_start_that_it_belongs_to(
    boot_seconds: float, since_fork: float, seconds: float
) -> None:
    assert probe_seconds(boot_seconds, since_fork) == seconds


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
        seconds = 0.1 if answer is None else 60
        assert runner.run(fault_of_probe(lambda: Answering(answer), "/health", seconds)) == fault


def test_a_request_that_is_cancelled_once_its_client_has_gone_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As that of a probe which was not answered in time, when the worker ends."""

    async def never(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(3600)

    async def live() -> None:
        config = uvicorn.Config(never, http=functools.partial(HttpProtocol, table=table), log_config=None)  # type: ignore[arg-type]
        config.load()
        state = ServerState()

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

        assert "did not answer" in await fault_of_probe(protocol, "/health", 0.1)
        await asyncio.sleep(0.05)  # until the end of the connection is seen
        [task] = state.tasks
        task.cancel()
        await asyncio.wait([task])

    table = ConnectionTable(Limits.of(ServerSettings()), RejectionCounts(None))
    asyncio.run(live())
    assert caplog.messages == []
