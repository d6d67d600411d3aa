"""What clients see of a worker that leaves."""

import http.client
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.service import Service, is_alive, running, wait_until

CLEANUP_SECONDS = 3  # what was cut has a second to notice; the rest is the noise of the machine


def streams(folder: Path, **settings: str) -> Service:
    return Service(folder, app="streams", **{"COACHMAN_KEEPALIVE_SECONDS": "1", **settings})


def seen(folder: Path, event: str) -> int:
    """How many workers noted it."""
    return len(list(folder.glob(f"{event}.*")))


def test_streams_are_told_websockets_closed_and_downloads_finished(tmp_path: Path) -> None:
    service = streams(tmp_path, COACHMAN_DRAIN_SECONDS="120")
    with running(service), service.asked("/events") as events, service.asked("/download/2") as download:
        ticks, file = events.getresponse(), download.getresponse()
        assert ticks.readline().startswith(b"data: ")
        with connect(f"ws://127.0.0.1:{service.port}/echo") as echo:
            echo.send("hello")
            assert echo.recv(timeout=PATIENCE_SECONDS) == "hello"

            service.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                echo.recv(timeout=PATIENCE_SECONDS)
        assert closed.value.rcvd is not None, service.log()
        assert closed.value.rcvd.code == 1012
        assert ticks.read().endswith(b"data: goodbye\n\n")

        assert len(file.read()) == 2 * 10 * 1000, service.log()
        assert service.wait_end() == 0, "one was not told until the drain's limit\n" + service.log()
    assert seen(tmp_path, "shut-down") == 2, service.log()
    assert "CRITICAL" not in service.log(), service.log()


def test_a_drain_may_outlast_the_hang_limit(tmp_path: Path) -> None:
    # Above what a worker may wait for CPU time, and a drain that does not cut the download.
    service = streams(tmp_path, COACHMAN_HANG_SECONDS="5", COACHMAN_DRAIN_SECONDS="120")
    with running(service), service.asked("/download/9") as download:
        file = download.getresponse()
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 1), service.log()
        [busy] = [slot["pid"] for slot in service.slots() if slot["in_flight"]]
        os.kill(busy, signal.SIGTERM)

        # The limit, and two seconds that the master may take to act on it, end long before the answer.
        assert len(file.read()) == 9 * 10 * 1000, service.log()
        assert wait_until(lambda: not is_alive(busy)), service.log()
    assert "CRITICAL" not in service.log(), service.log()


@pytest.mark.timing
def test_what_does_not_end_is_cut_at_the_drain_limit_and_the_lifespan_ends(tmp_path: Path) -> None:
    service = streams(tmp_path, COACHMAN_DRAIN_SECONDS="2")
    with running(service), service.asked("/endless-events") as events, service.asked("/stubborn"):
        ticks = events.getresponse()
        assert wait_until(lambda: seen(tmp_path, "begun")), service.log()

        service.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            ticks.read()
        assert 1.5 < time.monotonic() - told < 2 + CLEANUP_SECONDS, service.log()
        assert service.wait_end(CLEANUP_SECONDS) == 0, service.log()
    assert "s: 2 requests were in flight, at most 2 lost" in service.log()
    assert [seen(tmp_path, event) for event in ("disconnected", "cancelled", "shut-down")] == [1, 1, 2]
    assert "CRITICAL" not in service.log(), service.log()


@pytest.mark.timing
def test_an_idle_connection_is_answered_in_a_drain_and_closed_at_its_keep_alive_time(tmp_path: Path) -> None:
    service = streams(
        tmp_path, COACHMAN_WORKERS="1", COACHMAN_DRAIN_SECONDS="10", COACHMAN_KEEPALIVE_SECONDS="2"
    )
    with (
        running(service),
        service.asked("/pid") as used,
        service.asked("/pid") as left,
        socket.create_connection(("127.0.0.1", service.port), timeout=20) as never_asked,
    ):
        for connection in (used, left):
            assert connection.getresponse().read()
            assert connection.sock is not None
        answered = time.monotonic()

        service.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "drains" in service.log()), service.log()
        used.request("GET", "/pid")
        answer = used.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close"), service.log()

        assert left.sock.recv(1) == never_asked.recv(1) == b"", service.log()
        assert 1.5 < time.monotonic() - answered < 4, service.log()
        assert service.wait_end(5) == 0


def test_a_request_that_was_under_way_is_answered_with_connection_close(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_WORKERS="1")
    service.hold.touch()
    with running(service), service.asked("/hold") as connection:
        asked_at = time.monotonic()
        # Uvicorn makes the headers of its answers once a second: this one has those of a second ago.
        assert wait_until(lambda: time.monotonic() - asked_at > 1.2), service.log()
        assert service.slots()[0]["in_flight"] == 1
        service.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "drains" in service.log()), service.log()
        service.hold.unlink()
        answer = connection.getresponse()

        assert (answer.status, answer.headers["connection"]) == (200, "close"), service.log()
        answer.read()
        assert service.wait_end() == 0
    assert "s: 1 request was in flight, none lost" in service.log()


def test_scaling_down_and_up_fails_no_request(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3")
    with (
        running(service),
        Load(service.port, "/pid", clients=6, pause=0.01) as kept,
        Load(service.port, "/pid", clients=3, keep_alive=False, pause=0.01) as one_shot,
    ):
        for _ in range(2):
            before = service.worker_pids()
            service.process.send_signal(signal.SIGTTOU)
            assert wait_until(lambda: len(service.slots()) == 2 and service.is_ready()), service.log()
            assert service.worker_pids() < before, "a worker that stays was restarted"
            assert service.report()["workers"] == 2
            service.process.send_signal(signal.SIGTTIN)
            assert wait_until(lambda: len(service.slots()) == 3 and service.is_ready()), service.log()

    assert set(kept.outcomes) == set(one_shot.outcomes) == {"success"}, (
        f"{kept.outcomes} {one_shot.outcomes}\n{service.log()}"
    )
    assert len(re.findall("scaled-down", service.log())) == 2, service.log()


def test_a_restart_fails_no_request_while_another_process_holds_the_socket(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe")
    with (
        socket.create_server(("127.0.0.1", service.port), backlog=2048) as public,
        socket.create_server(("127.0.0.1", service.ops_port), backlog=2048) as ops,
    ):
        service.held_sockets = (public, ops)
        with (
            running(service),
            Load(service.port, "/pid", clients=6, pause=0.01) as kept,
            Load(service.port, "/pid", clients=3, keep_alive=False, pause=0.01) as one_shot,
        ):
            assert wait_until(lambda: min(kept.served(), one_shot.served()) > 100), service.log()
            service.process.send_signal(signal.SIGTERM)
            assert service.wait_end() == 0, service.log()
            service.start()
            service.wait_ready()
            served = kept.served(), one_shot.served()
            assert wait_until(lambda: kept.served() > served[0] and one_shot.served() > served[1])

    assert set(kept.outcomes) == set(one_shot.outcomes) == {"success"}, (
        f"{kept.outcomes} {one_shot.outcomes}\n{service.log()}"
    )


def test_a_stop_answers_every_request_on_the_connections_it_has(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe")
    with running(service), Load(service.port, "/pid", clients=8) as load:
        assert wait_until(lambda: load.served() > 200), service.log()
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.wait_end() == 0, service.log()

    # Nobody holds the port after a stop: new connections are refused, or reset while they still queue.
    assert {failure.answered_by for failure in load.failures} <= {None}, f"{load.failures}\n{service.log()}"
    assert set(load.outcomes) <= {"success", "refused", "reset"}, f"{load.outcomes}\n{service.log()}"
