"""What applications and people do to workers without meaning it."""

import base64
import itertools
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support import web
from tests.support.service import Service, running, wait_until


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


@pytest.mark.parametrize("when", ["while-starting", "once-ready"])
def test_an_application_that_ends_itself_is_forked_ever_more_slowly(tmp_path: Path, when: str) -> None:
    # Above the 0.1 s after which it ends once it is ready, however late its end is seen.
    service = Service(tmp_path, app="selfish", TESTS_MIN_UPTIME_SECONDS="3")
    with running(service):
        service.wait_settled()
        (tmp_path / when).touch()
        before = starts(tmp_path)
        os.kill(min(service.worker_pids()), signal.SIGKILL)

        assert wait_until(lambda: max(slot["failures"] for slot in service.slots()) >= 4), service.log()
        assert len([slot for slot in service.slots() if slot["restarts"] == 0]) == 1, "the other serves on"

        (tmp_path / when).unlink()
        service.wait_settled()  # one that has seen the file is ready for a moment
        begun = starts(tmp_path) - before
    delays = [float(delay) for delay in re.findall(r"the next one starts in ([\d.]+) s", service.log())]
    assert all(later > earlier for earlier, later in itertools.pairwise(delays)), service.log()
    assert begun == len(delays) + 1, "each start but the last has failed, and was waited after"


def test_an_application_that_ends_itself_at_the_first_start_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "while-starting").touch()
    service = Service(tmp_path, app="selfish")
    with running(service, ready=False):
        assert service.wait_end() == 3, service.log()
    assert starts(tmp_path) <= 2


def test_a_task_of_the_application_that_exits_is_named_as_what_ended_the_worker(tmp_path: Path) -> None:
    service = Service(tmp_path, app="selfish")
    with running(service):
        service.wait_settled()
        victim = web.get(f"{service.url}/quit").json()

        assert wait_until(lambda: service.is_ready() and victim not in service.worker_pids()), service.log()
        log = service.log()
        assert f"[{victim}] [ERROR] A task of the application has ended its process: no licence (" in log, log
        assert "lifespan has ended" not in log, log


def test_a_worker_that_somebody_tells_to_go_is_replaced_while_it_drains(tmp_path: Path) -> None:
    service = Service(tmp_path, app="selfish", COACHMAN_DRAIN_SECONDS="120")
    (tmp_path / "hold").touch()
    with running(service):
        service.wait_settled()
        with service.asked("/hold") as asked:
            assert wait_until(lambda: any(slot["in_flight"] for slot in service.slots())), service.log()
            busy = next(slot["pid"] for slot in service.slots() if slot["in_flight"])
            os.kill(busy, signal.SIGTERM)

            assert wait_until(lambda: len(service.worker_pids() - {busy}) == 2), service.log()
            (tmp_path / "hold").unlink()
            answer = asked.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, "close"), service.log()


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_process_group_ends_no_worker(tmp_path: Path, signum: signal.Signals) -> None:
    service = Service(tmp_path, app="selfish")
    with running(service):
        service.wait_settled()
        before = service.worker_pids()
        for pid in before:
            os.kill(pid, signum)
        with service.asked("/sleep/0.5") as asked:
            assert asked.getresponse().status == 200
        assert service.worker_pids() == before, service.log()


def test_a_socket_file_that_is_gone_does_not_keep_the_stop_from_draining(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    service = Service(tmp_path, app="selfish", COACHMAN_BIND=f"unix:{path}")
    with running(service):
        workers = service.worker_pids()
        path.unlink()
        service.process.send_signal(signal.SIGTERM)

        assert service.wait_end() == 0, service.log()
    assert {int(file.suffix[1:]) for file in tmp_path.glob("shut-down.*")} == workers


@pytest.mark.parametrize("farewell", [b"", b"\x88\x82\0\0\0\0\x03\xe8"], ids=["silent", "closes"])
def test_a_websocket_client_that_does_not_read_keeps_nobody_else_from_their_answer(
    tmp_path: Path, farewell: bytes
) -> None:
    """Also where it has closed the WebSocket, which cannot be closed again while what was sent is unread."""
    service = Service(tmp_path, app="selfish", COACHMAN_WORKERS="1", COACHMAN_DRAIN_SECONDS="8")
    (tmp_path / "hold").touch()
    with running(service), socket.create_connection(("127.0.0.1", service.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        key = base64.b64encode(os.urandom(16)).decode()
        deaf.sendall(
            b"GET /flood HTTP/1.1\r\nHost: shop\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert wait_until(lambda: any(slot["connections"] for slot in service.slots())), service.log()
        with service.asked("/hold") as asked:
            assert wait_until(lambda: any(slot["in_flight"] == 2 for slot in service.slots())), service.log()
            deaf.sendall(farewell)
            service.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: "drains" in service.log()), service.log()
            (tmp_path / "hold").unlink()

            assert asked.getresponse().status == 200, service.log()
        assert service.wait_end() == 0, service.log()
    assert list(tmp_path.glob("shut-down.*")), service.log()
