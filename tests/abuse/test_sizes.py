"""One connection cannot make a worker hold much, and others do not notice that it tries."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.abuse.attacks import CHUNKED, ENDLESS, MEGABYTE
from tests.abuse.client import HEAD, Attacker, Canary
from tests.abuse.conftest import attacked
from tests.support import web
from tests.support.service import Service, wait_until

GROWTH = 12 * MEGABYTE


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its deadlines are out of reach: what is refused here is refused for its size."""
    with attacked(tmp_path_factory.mktemp("target"), 60) as service:
        yield service


@pytest.mark.timing
@pytest.mark.parametrize("attack", ENDLESS)
def test_an_endless_request_neither_fills_the_worker_nor_delays_others(
    target: Service, attack: Callable[[Attacker], None]
) -> None:
    canary = Canary(target.port)
    usual, before = canary.median(), rss(target)
    with Attacker(target.port) as attacker:
        thread = threading.Thread(target=attack, args=(attacker,), daemon=True)
        thread.start()
        meanwhile = canary.median(100)
        assert wait_until(lambda: not thread.is_alive(), seconds=60), "the attack did not end"
        after = rss(target)

    assert after - before < GROWTH, f"{(after - before) / MEGABYTE:.0f} MiB more\n{target.log()}"
    assert meanwhile < 10 * max(usual, 0.005), (meanwhile, usual)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + b"x: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (HEAD + b"x: y\r\n" * 100 + b"\r\n", 431),
        (HEAD + b"x: y\r\n" * 98 + b"connection: close\r\n\r\n", 200),
        (b"GET /pid?" + b"y" * 9_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n", 414),
        (b"GET /pid?" + b"y" * 8_000 + b" HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n", 200),
        (b"POST /length HTTP/1.1\r\nhost: here\r\ncontent-length: 1048577\r\n\r\n", 413),
        (b"POST /length HTTP/1.1\r\nhost: here\r\ncontent-length: 99999999999999999999\r\n\r\n", 400),
        (
            CHUNKED + b"fffffffffffffffff\r\n",
            400,
        ),
    ],
)
def test_what_is_too_large_is_refused_with_its_status(target: Service, request_: bytes, status: int) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(request_)
        assert attacker.status() == status, target.log()


def test_a_body_without_length_is_counted_while_it_streams(target: Service) -> None:
    chunk = b"40000\r\n" + b"." * 0x40000 + b"\r\n"
    with Attacker(target.port) as attacker:
        attacker.send(CHUNKED + 5 * chunk)
        assert attacker.status() == 413, target.log()


def test_a_path_may_have_a_body_limit_of_its_own(target: Service) -> None:
    for size, status in ((8 * MEGABYTE, 200), (8 * MEGABYTE + 1, 413)):
        with Attacker(target.port) as attacker:
            attacker.send(b"POST /uploads/length HTTP/1.1\r\nhost: here\r\nconnection: close\r\n")
            attacker.send(b"content-length: %d\r\n\r\n" % size + b"." * size)
            assert attacker.status() == status, target.log()


def test_pipelined_requests_are_all_answered_in_turn(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send((HEAD + b"\r\n") * 999 + HEAD + b"connection: close\r\n\r\n")
        answers = attacker.read_to_end()

    assert answers.count(b"HTTP/1.1 200 OK") == 1000


def rss(service: Service) -> int:
    """Of the worker, bytes."""
    slot = service.slots()[0]
    pages = Path(f"/proc/{slot['pid']}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_limits_that_were_reached_are_counted_in_the_metrics(target: Service) -> None:
    series = 'coachman_limits_reached_total{limit="target-bytes"}'

    def reached() -> float:
        lines = web.get(f"{target.ops_url}/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(series)).split()[1])

    before = reached()
    for _ in range(3):
        with Attacker(target.port) as attacker:
            attacker.send(b"GET /" + b"y" * 10_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n")
            assert attacker.status() == 414, target.log()

    assert reached() == before + 3


def test_a_client_that_leaves_within_its_body_is_no_failure_of_ours(target: Service) -> None:
    with Attacker(target.port) as attacker:
        attacker.send(b"POST /length HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n12345")
    counted = 'coachman_http_requests_total{method="POST",route="/length",status="499"}'

    assert wait_until(lambda: counted in web.get(f"{target.ops_url}/metrics").text), target.log()
