"""Keep-alive connections are shared by the workers, also by those that come later."""

import contextlib
import functools
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import web
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.service import Service, running, wait_until

pytestmark = pytest.mark.timing
CLIENTS = 12
EVEN_SECONDS = 5  # after which shares are even again, whatever has happened
FAULT_SECONDS = 2.0


def connections(service: Service) -> list[int]:
    return [slot["connections"] for slot in service.slots() if slot["state"] == "ready"]


def is_even(service: Service, workers: int, clients: int = CLIENTS) -> bool:
    found = connections(service)
    return len(found) == workers and sum(found) == clients and max(found) - min(found) <= 1


def wait_even(service: Service, workers: int, clients: int = CLIENTS) -> None:
    assert wait_until(lambda: is_even(service, workers, clients), seconds=EVEN_SECONDS), (
        f"{connections(service)}\n{service.log()}"
    )


@contextlib.contextmanager
def loaded(service: Service) -> Iterator[Load]:
    """With clients that keep their connections, which the workers share evenly."""
    with Load(service.port, "/pid", clients=CLIENTS, pause=0.02) as load:
        wait_even(service, len(service.worker_pids()))
        yield load


def _has(service: Service, workers: int) -> bool:
    return len(service.worker_pids()) == workers


def scale(service: Service, *numbers: int) -> None:
    """By one at a time: of two signals of a kind that come together the kernel keeps one."""
    for workers in numbers:
        more = workers > len(service.worker_pids())
        service.process.send_signal(signal.SIGTTIN if more else signal.SIGTTOU)
        assert wait_until(functools.partial(_has, service, workers)), service.log()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_are_even_and_even_again_after_a_kill(tmp_path: Path, loop: str) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3", COACHMAN_LOOP=loop)
    with running(service), loaded(service) as load:
        service.wait_settled()
        assert load.outcomes.keys() == {"success"}, load.outcomes

        victim = min(service.worker_pids())
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: victim not in service.worker_pids() and len(service.worker_pids()) == 3)
        wait_even(service, 3)
        lost = load.outcomes.total() - load.served()
        assert lost <= CLIENTS // 3 + 1, f"only what the killed worker had: {load.outcomes}"
        assert wait_until(lambda: set(Counter(load.answered_by()).values()) == {4}), load.answered_by()
        assert service.report()["imbalance"] <= 1.34


def test_a_scale_from_two_to_four_and_back_loses_nothing_and_is_even_soon(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="2")
    with running(service), loaded(service) as load:
        service.wait_settled()
        scale(service, 3, 4)
        wait_even(service, 4)

        scale(service, 3, 2)
        wait_even(service, 2)
    assert load.outcomes.keys() == {"success"}, load.outcomes


def test_a_handover_loses_nothing_and_the_new_generation_is_even_soon(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_WORKERS="3")
    with running(service), loaded(service) as load:
        before = service.worker_pids()
        service.release("2")
        code, printed = service.coachman("handover", "--no-wait")
        assert code == 0, f"{printed}\n{service.log()}"
        assert wait_until(lambda: not before & service.worker_pids()), service.log()
        wait_even(service, 3)
    service.assert_no_failure(load)


def test_a_worker_that_is_stopped_for_a_while_loses_nothing_and_holds_nobody_back(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3")
    with running(service), loaded(service) as load:
        stopped = min(service.worker_pids())
        os.kill(stopped, signal.SIGSTOP)
        begun = time.monotonic()
        try:
            with Load(service.port, "/pid", clients=2, keep_alive=False) as newcomers:
                assert wait_until(lambda: newcomers.served() >= 20), newcomers.outcomes
                assert wait_until(lambda: time.monotonic() - begun > FAULT_SECONDS)
        finally:
            os.kill(stopped, signal.SIGCONT)
        wait_even(service, 3)
    for clients in (load, newcomers):
        assert clients.outcomes.keys() == {"success"}, clients.outcomes


def test_a_worker_whose_loop_is_blocked_loses_nothing_and_holds_nobody_back(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3")
    with running(service), loaded(service) as load:
        url = f"{service.url}/blocked?seconds={FAULT_SECONDS}"
        blocker = threading.Thread(target=web.get, args=(url,), kwargs={"timeout": 30}, daemon=True)
        blocker.start()
        with Load(service.port, "/pid", clients=2, keep_alive=False) as newcomers:
            assert wait_until(lambda: newcomers.served() >= 20), newcomers.outcomes
            blocker.join(20)
        wait_even(service, 3)
    for clients in (load, newcomers):
        assert clients.outcomes.keys() == {"success"}, clients.outcomes


class UnixConnection(socket.socket):
    """A client's end of a unix socket, for http.client, which sets an option of TCP."""

    def setsockopt(self, *_: Any) -> None: ...


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_of_all_sockets_that_systemd_holds_are_shared_together(tmp_path: Path, loop: str) -> None:
    """Two public ones of different families, whose connections count as one load."""
    path = str(tmp_path / "public.sock")

    def connect(_: Any, timeout: float, *__: Any) -> socket.socket:
        connection = UnixConnection(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(path)
        return connection

    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3", COACHMAN_LOOP=loop)
    with (
        socket.create_server(("127.0.0.1", service.port)) as port,
        socket.socket(socket.AF_UNIX) as file,
        socket.create_server(("127.0.0.1", service.ops_port)) as ops,
    ):
        file.bind(path)
        file.listen()
        service.held_sockets = (port, file, ops)
        with (
            running(service),
            Load(service.port, "/pid", clients=6, pause=0.02) as by_port,
            Load(service.port, "/pid", clients=6, pause=0.02, connect=connect) as by_file,
        ):
            wait_even(service, 3)
            assert wait_until(lambda: min(by_port.served(), by_file.served()) > 100), service.log()
    for clients in (by_port, by_file):
        assert clients.outcomes.keys() == {"success"}, f"{clients.outcomes}\n{service.log()}"


def test_a_worker_has_room_for_the_connections_that_the_others_do_not_have(tmp_path: Path) -> None:
    """A worker that is stopped has none, so that the other one is asked for all."""
    settings = {"COACHMAN_CONNECTIONS": "10", "COACHMAN_KEEPALIVE_SECONDS": "15"}
    service = Service(tmp_path, app="probe", **settings)
    with running(service), contextlib.ExitStack() as stack:
        stopped = min(service.worker_pids())
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(os.kill, stopped, signal.SIGCONT)
        clients = [stack.enter_context(web.Client(base_url=service.url, timeout=10)) for _ in range(16)]
        begun = time.monotonic()
        for client in clients:
            assert client.get("/pid").status_code == 200, service.log()
        # Idle for longer than it takes to be evicted, and asked again on the same connections.
        assert wait_until(lambda: time.monotonic() - begun > 1.5)
        for client in clients:
            assert client.get("/pid").status_code == 200, service.log()
        assert max(connections(service)) == 16, service.log()
    assert "evicted" not in service.log()
