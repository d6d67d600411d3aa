"""Nothing half-open outlives its deadline."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from tests.abuse.client import HEAD, Attacker, Canary, crowd, still_open
from tests.abuse.conftest import DEADLINE
from tests.support import web
from tests.support.service import Service, running, wait_until

POST = b"POST /length HTTP/1.1\r\nhost: here\r\n"
# For what ends 2 s after the deadline where the machine is idle: without an end it would go on for good.
PATIENCE = DEADLINE + 60


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", 0),
        (b"GET /pid HT", 408),
        (HEAD, 408),
        (HEAD + b"x: y\r\n", 408),
        (POST + b"content-length: 10\r\n\r\n12345", 408),
        (POST + b"transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n", 408),
    ],
)
def test_a_client_that_falls_silent_is_told_and_ended(target: Service, sent: bytes, status: int) -> None:
    begun = time.monotonic()
    with Attacker(target.port) as attacker:
        attacker.send(sent)

        assert attacker.status() == status, target.log()
        assert time.monotonic() - begun > DEADLINE * 0.9


def test_a_head_that_trickles_in_is_not_waited_for(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(HEAD)
        begun = time.monotonic()
        while attacker.send(b"x-more: x\r\n") and time.monotonic() - begun < PATIENCE:
            time.sleep(0.2)  # the trickle itself

        assert time.monotonic() - begun < PATIENCE


def test_a_body_that_trickles_in_is_not_waited_for(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(POST + b"content-length: 100000\r\n\r\n")
        begun = time.monotonic()
        while attacker.send(b".") and time.monotonic() - begun < PATIENCE:
            time.sleep(0.2)

        assert time.monotonic() - begun < PATIENCE


@pytest.mark.timing  # a client that is stopped for longer than the deadline does not keep the pace
def test_a_slow_body_that_keeps_the_pace_is_taken(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(POST + b"connection: close\r\ncontent-length: 12000\r\n\r\n")
        for _ in range(12):
            assert attacker.send(b"." * 1000)
            time.sleep(DEADLINE / 6)

        assert attacker.read_to_end().endswith(b"12000"), target.log()


@pytest.mark.parametrize("path", [b"/big", b"/stream"])
def test_a_client_that_does_not_read_its_answer_is_ended(target: Service, path: bytes) -> None:
    with Attacker(target.port) as attacker:
        before = ended_answers(target)
        attacker.send(b"GET %s HTTP/1.1\r\nhost: here\r\n\r\n" % path)

        assert wait_until(lambda: ended_answers(target) == before + 1, seconds=PATIENCE), target.log()
        assert wait_until(lambda: connections(target) == 0, seconds=PATIENCE), target.log()
        received = attacker.read_to_end()

    assert received.startswith(b"HTTP/1.1 200 "), received[:100]
    assert len(received) < 20 * 1024 * 1024, "the rest was given up"


def ended_answers(service: Service) -> float:
    """How many connections it has ended because their client did not read."""
    series = 'coachman_limits_reached_total{limit="answer-seconds"} '
    lines = web.get(f"{service.ops_url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(series)) for line in lines if line.startswith(series))


@pytest.mark.timing  # a client that is stopped for longer than the deadline does not read at all
def test_a_client_that_reads_slowly_gets_its_answer(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(b"GET /big HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        begun, received = time.monotonic(), 0
        while time.monotonic() - begun < 2 * DEADLINE:
            received += len(attacker.socket.recv(128 * 1024))
            time.sleep(0.05)
        received += len(attacker.read_to_end(seconds=30))

    assert received > 20 * 1024 * 1024, target.log()


@pytest.mark.timing
def test_hundreds_of_slow_clients_are_ended_while_others_are_served(target: Service) -> None:
    canary = Canary(target.port)
    usual = canary.median()
    with crowd(target.port, 300, HEAD) as members:
        meanwhile = canary.median()
        assert wait_until(lambda: still_open(members) == 0, seconds=PATIENCE), target.log()

    assert meanwhile < 10 * max(usual, 0.005), (meanwhile, usual)


@pytest.mark.timing  # a pause that is longer than an idle connection is kept
def test_an_idle_keep_alive_connection_may_ask_again_within_its_time(target: Service) -> None:
    with Attacker(target.port) as attacker:
        for _ in range(3):
            attacker.send(HEAD + b"\r\n")
            assert attacker.socket.recv(65536).startswith(b"HTTP/1.1 200")  # head and body leave in one write
            time.sleep(DEADLINE * 0.6)  # in sum longer than a head may take


def connections(service: Service) -> int:
    return int(service.slots()[0]["connections"])


def test_a_stop_waits_for_no_hostile_client(tmp_path: Path) -> None:
    service = Service(
        tmp_path,
        app="target",
        COACHMAN_WORKERS="2",
        COACHMAN_DRAIN_SECONDS="3",
        COACHMAN_KEEPALIVE_SECONDS="1",
        COACHMAN_HEAD_SECONDS="120",
        COACHMAN_BODY_SECONDS="120",
        COACHMAN_ANSWER_SECONDS="120",
    )
    greetings = [
        b"",
        HEAD,
        HEAD + b"\r\n",
        POST + b"content-length: 10\r\n\r\n12345",
        b"GET /big HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /stream HTTP/1.1\r\nhost: here\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ]
    with running(service), contextlib.ExitStack() as attackers:
        for greeting in greetings:
            attackers.enter_context(Attacker(service.port)).send(greeting)
        # All but perhaps the one that has its answer, whose second of idleness may be over.
        open_ones = len(greetings) - 1
        assert wait_until(lambda: sum(slot["connections"] for slot in service.slots()) >= open_ones)
        service.process.send_signal(signal.SIGTERM)

        # The drain, what is cut then and the lifespan's end. Its clients would stay for 120 s.
        assert service.wait_end(60) == 0, service.log()
    assert "killed" not in service.log().lower(), service.log()
