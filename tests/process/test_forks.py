"""A process that the application forks is no worker: neither its signals nor its end concern the service."""

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.process.scrape import scrape
from tests.support import web
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.service import APPS, Service, is_alive, running, wait_until


@pytest.fixture(params=["uvloop", "asyncio"])
def forking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    # Alone on the machine, a worker whose wake-ups a child has taken is missed soon.
    is_alone = request.node.get_closest_marker("timing") is not None
    service = Service(
        tmp_path,
        COACHMAN_APP="forks:app",
        COACHMAN_WORKERS="1",
        COACHMAN_LOOP=request.param,
        COACHMAN_HANG_SECONDS="2" if is_alone else "30",
        PYTHONPATH=APPS,
    )
    with running(service):
        service.wait_settled()
        yield service


def asked(connection: http.client.HTTPConnection, path: str) -> object:
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


@pytest.mark.timing  # an endpoint blocks the event loop: on a busy machine long enough to be killed for
def test_children_of_every_kind_leave_the_worker_alone(forking: Service) -> None:
    [worker] = forking.worker_pids()
    with forking.asked("/pid") as bystander, forking.asked("/pid") as connection:
        assert [json.loads(each.getresponse().read()) for each in (bystander, connection)] == [worker] * 2
        for _ in range(3):
            ask_all(forking, worker, bystander, connection)
    [slot] = forking.slots()
    assert (slot["state"], slot["pid"], slot["restarts"]) == ("ready", worker, 0), forking.log()
    assert f"[{worker}] [INFO] Worker in slot 0 drains" not in forking.log(), forking.log()
    files = {path.name for path in Path(forking.environment["COACHMAN_RUNTIME_DIR"], "ops").rglob("*.db")}
    assert not any("fork" in name or name.count(".") > 1 for name in files), files
    assert scrape(forking).sum("doubled_total") == 3 * (3 + 3), "what children have counted is lost"
    counted = {name for name in files if name.startswith("counter_child-")}
    assert len(counted) <= 3, f"each child has left a file: {counted}"  # a pool has two processes
    forking.process.send_signal(signal.SIGTERM)
    assert forking.wait_end() == 0, forking.log()


@pytest.mark.timing  # as above
def test_a_child_in_the_event_loop_does_and_says_nothing_in_the_workers_name(forking: Service) -> None:
    [worker] = forking.worker_pids()
    with forking.asked("/pid") as connection:
        assert json.loads(connection.getresponse().read()) == worker
        for turns in range(5):
            assert asked(connection, f"/late-exit/{turns}") == 1, forking.log()

    for line in ("drains", "Cannot accept", "lifespan"):
        assert line not in forking.log(), forking.log()
    assert forking.log().count("came back into the worker's event loop") == 5, forking.log()


def ask_all(
    forking: Service,
    worker: int,
    bystander: http.client.HTTPConnection,
    connection: http.client.HTTPConnection,
) -> None:
    assert asked(connection, "/terminate") == -signal.SIGTERM, forking.log()
    assert asked(connection, "/terminate-at-once") == [-signal.SIGTERM], forking.log()
    assert asked(connection, "/pool") == [2, 4, 6], forking.log()
    assert asked(connection, "/executor") == [2, 4, 6], forking.log()
    assert asked(connection, "/exit") == 1, forking.log()
    assert asked(connection, "/return") == 1, forking.log()
    assert asked(connection, "/await") == 1, forking.log()
    # Others' connections and the worker's wake-ups are as they were.
    assert asked(bystander, "/pid") == asked(connection, "/pid") == worker, forking.log()


def test_a_child_that_lives_on_holds_neither_the_port_nor_a_connection(forking: Service) -> None:
    with web.Client(base_url=forking.url) as client:
        child = client.get("/hold").json()
    try:
        with socket.create_connection(("127.0.0.1", forking.port), PATIENCE_SECONDS) as connection:
            connection.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
            other = int(connection.recv(4096).rpartition(b"\r\n")[2])
            connection.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            # The child has this socket too: the connection ends only if it has let go of it.
            while connection.recv(4096):
                pass
        forking.process.send_signal(signal.SIGTERM)
        assert forking.wait_end() == 0, forking.log()
        assert wait_until(lambda: _is_refused(forking)), "a child still listens"
    finally:
        for pid in (child, other):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def _is_refused(service: Service) -> bool:
    try:
        web.get(service.url)
    except httpx2.ConnectError:
        return True
    return False
