import asyncio
import math
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from coachman.serving import accept
from coachman.serving.accept import FairListener
from coachman.serving.balance import (
    MAX_DELAY_SECONDS,
    ConnectionShare,
    accept_delay,
    busyness,
    connection_limit,
    connections_above_share,
)
from coachman.serving.rebalance import INTERVAL_SECONDS, MAX_INTERVAL_SECONDS, Rebalancer
from coachman.state.load_table import LoadTable
from coachman.state.scoreboard import Service
from coachman.system.tls import Tls
from tests.support.certificates import make_certificate

SERVICE = Service(workers=3, slots=3)
FRESH_SECONDS = 60


@pytest.fixture(autouse=True)
def nobody_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of these tests beats once, which a busy machine would soon take for a worker that is stuck."""
    monkeypatch.setattr("coachman.state.load_table.STALE_SECONDS", FRESH_SECONDS)


def share(table: LoadTable, slot: int, connections: int = 0) -> ConnectionShare:
    made = ConnectionShare(table, slot, lambda: SERVICE)
    made.open()
    for number in range(connections):
        made.connections.add(number)
    return made


def test_who_has_least_to_do_accepts_at_once_and_others_wait_the_longer_the_more_they_have() -> None:
    assert accept_delay(0, math.inf) == 0, "a lone worker never waits"
    assert accept_delay(500, math.inf) == 0
    assert accept_delay(0, 0) == 0, "an idle service accepts without delay"
    assert accept_delay(1, 1) == 0
    assert 0 < accept_delay(1, 0) < accept_delay(3, 0) <= MAX_DELAY_SECONDS
    assert accept_delay(10**6, 0) == MAX_DELAY_SECONDS


def test_with_many_connections_a_few_more_make_nobody_wait() -> None:
    assert accept_delay(105, 100) == 0
    assert accept_delay(110, 100) > 0


def test_of_two_workers_with_as_many_connections_the_one_with_less_to_do_accepts_first() -> None:
    assert busyness(0, 0) == 0
    assert 0 < busyness(1, 0) < busyness(5, 0) < busyness(5, 0.05) < busyness(1000, 60) < 1


@pytest.mark.parametrize(
    ("mine", "others", "above"),
    [
        (5, [], 0),
        (1, [1, 1], 0),
        (2, [1, 0], 1),
        (64, [0], 32),
        (2, [1, 1, 1, 1], 0),  # six cannot be even
        (87, [85, 84], 0),  # a difference, and none worth a move
        (100, [80, 80], 13),
        (0, [9], 0),
    ],
)
def test_how_many_connections_are_above_a_share(mine: int, others: list[int], above: int) -> None:
    assert connections_above_share(mine, others) == above


@pytest.mark.parametrize(
    ("others", "limit"),
    [
        ([100.0, 100.9], 100),  # all have their part
        ([70.0, 90.0], 140),  # what they leave
        ([250.0, 0.0], 100),  # another one has more than its part: this one keeps its own
        ([0.0, 0.0], 200),  # what a process carries
        ([90.0], 200),  # one of three is being replaced
    ],
)
def test_a_worker_may_have_the_connections_that_the_others_leave_room_for(
    others: list[float], limit: int
) -> None:
    assert connection_limit(100, 200, 3, others) == limit


def test_a_worker_that_starts_drains_or_is_stuck_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LoadTable(3)
    mine, other = share(table, 0, connections=4), share(table, 1)
    assert mine.accept_delay() > 0

    other.close()
    assert mine.accept_delay() == 0
    other.connections.add("one that is answered while it drains")
    assert mine.accept_delay() == 0

    other.open()
    assert mine.above_share() == (1, 1)
    now = time.monotonic()
    monkeypatch.setattr("coachman.state.load_table.time.monotonic", lambda: now + 2 * FRESH_SECONDS)
    assert mine.accept_delay() == 0
    other.beat(in_flight=0, lag_seconds=0)
    assert mine.accept_delay() > 0

    ConnectionShare(table, 1, lambda: SERVICE)  # the slot's next worker, which starts
    assert mine.accept_delay() == 0


def test_every_change_of_the_open_connections_is_told() -> None:
    table = LoadTable(3)
    owner = share(table, 0)
    told = [table.connections(0)]
    for change in (
        lambda: owner.connections.add("http"),
        lambda: owner.connections.add("websocket"),
        lambda: owner.connections.discard("http"),
        lambda: owner.connections.remove("websocket"),
    ):
        change()
        told.append(table.connections(0))

    assert told == [0, 1, 2, 1, 0]


def test_a_connection_counts_from_its_accept_on_and_once() -> None:
    table = LoadTable(3)
    owner = share(table, 0)
    owner.accepting()
    assert (table.connections(0), owner.being_accepted) == (1, 1)
    owner.connections.add("its protocol")
    assert (table.connections(0), owner.being_accepted) == (1, 0)

    owner.accepting()
    owner.accept_failed()  # such as a client that speaks no TLS
    owner.accept_failed()
    assert (table.connections(0), owner.being_accepted) == (1, 0)


def test_the_least_of_the_others_is_the_least_of_those_that_take_connections() -> None:
    table = LoadTable(4)
    for slot, load in enumerate((0.5, 7.25, 3.0, 1.0)):
        table.write(slot, load)
        table.beat(slot)
    assert table.others(0, 3) == [7.25, 3.0]
    assert table.least(0, 3) == 3.0
    table.withdraw(2)
    assert table.least(0, 3) == min(table.others(0, 3)) == 7.25
    assert table.least(0, 1) == math.inf


RESPONSE: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"2")],
}
REQUEST: dict[str, Any] = {"type": "http", "http_version": "1.1", "headers": []}


def test_half_of_what_is_too_many_is_closed_in_a_round_once_it_has_lasted() -> None:
    closed: list[int] = []
    rebalancer = Rebalancer(share(LoadTable(3), 0), lambda: closed.append(1))
    rebalancer.decide(5, others=2)
    assert rebalancer.begin(REQUEST, RESPONSE) == RESPONSE, "it may be a burst"

    rebalancer.decide(5, others=2)
    begun = [rebalancer.begin(REQUEST, RESPONSE) for _ in range(5)]
    assert [(b"connection", b"close") in message["headers"] for message in begun] == [True] * 3 + [False] * 2
    assert len(closed) == 3

    rebalancer.decide(0, others=2)
    assert rebalancer.to_close == 0


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"headers": [(b"connection", b"close")]}, {}),  # it closes anyway
        ({"http_version": "1.0"}, {}),
        ({}, {"headers": []}),  # of a length that nobody knows: a stream
        ({}, {"headers": [(b"content-length", b"2"), (b"connection", b"keep-alive")]}),
    ],
)
def test_what_is_never_closed(scope: dict[str, Any], message: dict[str, Any]) -> None:
    rebalancer = Rebalancer(share(LoadTable(3), 0), lambda: None)
    rebalancer.decide(5, others=2)
    rebalancer.decide(5, others=2)

    assert rebalancer.begin(REQUEST | scope, RESPONSE | message) == RESPONSE | message
    assert rebalancer.to_close


def test_it_pauses_longer_and_longer_while_it_does_not_help() -> None:
    rebalancer = Rebalancer(share(LoadTable(3), 0), lambda: None)
    for _ in range(20):
        rebalancer.decide(5, others=2)
    assert rebalancer._interval == MAX_INTERVAL_SECONDS

    rebalancer.decide(5, others=3)  # a new worker
    assert rebalancer._interval == INTERVAL_SECONDS


class Echo(asyncio.Protocol):
    def __init__(self, owner: ConnectionShare) -> None:
        self._connections = owner.connections

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)


def listening(family: str, folder: Path) -> socket.socket:
    if family == "tcp":
        return socket.create_server(("127.0.0.1", 0))
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(folder / "socket"))
    made.listen()
    return made


def run_on(loop: str, body: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(asyncio.wait_for(body(), 120))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_listeners_on_one_socket_take_as_many_connections_each(
    loop: str, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as it takes a busy machine until another one has accepted.
    monkeypatch.setattr("coachman.serving.balance.DELAY_SECONDS", 300)
    monkeypatch.setattr("coachman.serving.balance.MAX_DELAY_SECONDS", 300)
    table = LoadTable(3)

    async def body() -> None:
        listener = listening(family, tmp_path)
        shares = [share(table, slot) for slot in range(3)]
        listeners = [
            FairListener(listener.dup(), lambda owner=owner: Echo(owner), owner, None) for owner in shares
        ]
        clients = []
        for _ in range(12):
            client = socket.socket(listener.family)
            client.connect(listener.getsockname())
            client.setblocking(False)
            clients.append(client)
        running = asyncio.get_running_loop()
        for client in clients:
            await running.sock_sendall(client, b"ping")
            assert await running.sock_recv(client, 10) == b"ping"
        assert [len(owner.connections) for owner in shares] == [4, 4, 4]
        assert [owner.being_accepted for owner in shares] == [0, 0, 0]
        for client in clients:
            client.close()
        while any(owner.connections for owner in shares):
            await asyncio.sleep(0.01)
        for one in listeners:
            one.close()
            one.close()
            await one.wait_closed()
        listener.close()

    run_on(loop, body)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_worker_that_has_come_to_have_less_to_do_ends_its_pause(
    loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("coachman.serving.balance.DELAY_SECONDS", 300)
    monkeypatch.setattr("coachman.serving.balance.MAX_DELAY_SECONDS", 300)

    async def body() -> None:
        table, listener = LoadTable(3), listening("tcp", tmp_path)
        idle, owner = share(table, 1), share(table, 0, connections=1)
        fair = FairListener(listener, lambda: Echo(owner), owner, None)
        with socket.create_connection(listener.getsockname()):
            await asyncio.sleep(0.05)
            assert len(owner.connections) == 1, "it is left to the idle one"
            owner.connections.remove(0)
            while not owner.connections:
                await asyncio.sleep(0.001)
            # Behind it nobody waits: to pause at once would keep the next one out.
            assert fair._timer is None
            owner.connections.clear()
        idle.close()
        fair.close()

    run_on(loop, body)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_look_at_the_others_that_fails_ends_the_pause(
    loop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the worker would accept nothing for the rest of its life."""

    async def body() -> None:
        table, listener = LoadTable(3), listening("tcp", tmp_path)
        idle, owner = share(table, 1), share(table, 0, connections=9)
        fair = FairListener(listener, lambda: Echo(owner), owner, None)
        failed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        monkeypatch.setattr("coachman.serving.balance.MAX_DELAY_SECONDS", 300)
        monkeypatch.setattr("coachman.serving.balance.DELAY_SECONDS", 300)
        with socket.create_connection(listener.getsockname()):
            while fair._timer is None:
                await asyncio.sleep(0)

            def fail() -> float:
                monkeypatch.undo()
                raise OSError("a fault of ours")

            monkeypatch.setattr(owner, "accept_delay", fail)
            async with asyncio.timeout(60):
                while len(owner.connections) == 9:
                    await asyncio.sleep(0.001)
        assert [str(context["exception"]) for context in failed] == ["a fault of ours"]
        idle.close()
        fair.close()

    run_on(loop, body)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_connection_with_tls_is_served_and_counts_once(loop: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    tls = Tls(*map(str, certificate))
    trust = ssl.create_default_context(cafile=str(certificate.certfile))

    async def body() -> None:
        listener, owner = listening("tcp", tmp_path), share(LoadTable(3), 0)
        fair = FairListener(listener, lambda: Echo(owner), owner, tls)
        reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=trust)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert (len(owner.connections), owner.being_accepted) == (1, 0)
        writer.close()
        await writer.wait_closed()
        while owner.connections:
            await asyncio.sleep(0.01)
        fair.close()

    run_on(loop, body)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_speaks_no_tls_costs_its_connection_alone(
    loop: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        listener, owner = listening("tcp", tmp_path), share(LoadTable(3), 0)
        tls = SimpleNamespace(context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        fair = FairListener(listener, lambda: Echo(owner), owner, tls)  # type: ignore[arg-type]
        running = asyncio.get_running_loop()
        client = socket.create_connection(listener.getsockname())
        client.setblocking(False)
        await running.sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n")
        answer = b"?"
        while answer:
            try:
                answer = await running.sock_recv(client, 100)
            except ConnectionError:
                break
        while owner.being_accepted:
            await asyncio.sleep(0.01)
        assert not owner.connections
        client.close()
        fair.close()

    run_on(loop, body)
    assert "could not be served" not in caplog.text


def test_a_process_without_room_for_a_connection_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(accept, "RETRY_SECONDS", 0.02)

    class Full:
        def __init__(self, inner: socket.socket) -> None:
            self._inner, self.refusals = inner, 3

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def accept(self) -> Any:
            self.refusals -= 1
            if self.refusals >= 0:
                raise OSError(24, "Too many open files")
            return self._inner.accept()

    async def body() -> None:
        listener, owner = listening("tcp", tmp_path), share(LoadTable(3), 0)
        fair = FairListener(Full(listener), lambda: Echo(owner), owner, None)  # type: ignore[arg-type]
        with socket.create_connection(listener.getsockname()):
            while not owner.connections:
                await asyncio.sleep(0.01)
        fair.close()

    run_on("asyncio", body)
    assert caplog.text.count("Cannot accept connections") == 1


def test_only_loops_that_are_known_to_accept_so_do() -> None:
    for loop in (uvloop.new_event_loop(), asyncio.new_event_loop()):
        assert accept.is_supported(loop)
        loop.close()
    assert not accept.is_supported(object())  # type: ignore[arg-type]
