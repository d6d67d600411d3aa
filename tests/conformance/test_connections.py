"""What happens on one connection over time, and that others do not notice it."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.soundness import client, complaints, read_to_end
from tests.conformance.test_conformance import BODY_SECONDS, serving_echo
from tests.support.service import Service, wait_until

GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def echo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving_echo(tmp_path_factory.mktemp(request.param), request.param) as service:
        yield service


def test_a_malformed_chunk_of_a_client_that_expects_100_harms_nobody_else(echo: Service) -> None:
    """It once ended the callback that flushes the responses of all connections, for the worker's life."""
    attackers = [client(echo.port) for _ in range(3)]
    for attacker in attackers:
        attacker.sendall(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nX"
        )
    for attacker in attackers:
        received = read_to_end(attacker)
        attacker.close()
        assert received.startswith(b"HTTP/1.1 400 "), received

    assert complaints(echo) == [], echo.log()
    assert "write_eof" not in echo.log(), echo.log()


@pytest.mark.parametrize("path", [b"/slow", b"/stream"])
def test_a_client_that_ends_its_sending_side_gets_its_response(echo: Service, path: bytes) -> None:
    with client(echo.port) as connection:
        connection.sendall(GET % path)
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)

    assert received.startswith(b"HTTP/1.1 200 "), received
    assert received.endswith(b"}" if path == b"/slow" else b"0\r\n\r\n"), received


def test_pipelined_requests_of_a_client_that_ends_its_sending_side_are_all_answered(echo: Service) -> None:
    with client(echo.port) as connection:
        connection.sendall(GET % b"/slow" + GET % b"/a" + GET % b"/b")
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)

    assert received.count(b"HTTP/1.1 200 ") == 3, received
    assert b"connection: close" in received.rpartition(b"HTTP/1.1 200 ")[2]


def test_the_ops_listener_answers_a_client_that_ends_its_sending_side(echo: Service) -> None:
    for paths in ([b"/readyz"], [b"/metrics"], [b"/livez", b"/metrics", b"/status.json"]):
        with client(echo.ops_port) as connection:
            connection.sendall(b"".join(GET % path for path in paths))
            connection.shutdown(socket.SHUT_WR)
            received = read_to_end(connection)

        assert received.count(b"HTTP/1.1 200 ") == len(paths), received
    assert complaints(echo) == [], echo.log()


def test_an_application_that_asks_is_told_that_its_client_may_have_left(echo: Service) -> None:
    with client(echo.port) as connection:
        connection.sendall(GET % b"/disconnected")
        connection.shutdown(socket.SHUT_WR)
        received = read_to_end(connection)

    assert received.endswith(b"http.disconnect"), received


def test_half_a_request_of_a_client_that_ends_its_sending_side_ends_the_connection(echo: Service) -> None:
    for half in (b"GET / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe"):
        with client(echo.port) as connection:
            connection.sendall(half)
            connection.shutdown(socket.SHUT_WR)
            assert read_to_end(connection) == b""


def test_the_clock_of_a_body_starts_when_its_client_has_been_asked_for_it(echo: Service) -> None:
    """The application waits twice as long as a body may pause before it asks."""
    begun = time.monotonic()
    with client(echo.port) as connection:
        connection.sendall(
            b"POST /late HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\nConnection: close\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        assert time.monotonic() - begun > BODY_SECONDS
        connection.sendall(b"hello")
        assert b'"body": "hello"' in read_to_end(connection)


def test_a_client_that_was_asked_for_its_body_and_sends_none_is_ended(echo: Service) -> None:
    with client(echo.port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        received = read_to_end(connection)

    assert received.startswith(b"HTTP/1.1 100 "), received
    assert b"HTTP/1.1 408 " in received


def test_a_request_that_was_rejected_is_logged_and_counted_as_its_client_has_it(tmp_path: Path) -> None:
    """Though the application is told only that its client has gone, and responds something else."""
    begun = b"POST /rejected HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe"
    chunk = b"POST /malformed HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nX"
    with serving_echo(tmp_path, "uvloop", COACHMAN_ACCESS_LOG="on") as echo:
        for request, status in ((begun, 408), (chunk, 400)):
            with client(echo.port) as connection:
                connection.sendall(request)
                assert read_to_end(connection).startswith(b"HTTP/1.1 %d " % status)
            assert wait_until(lambda line=f"POST unmatched {status} in ": line in echo.log()), echo.log()
        assert "POST unmatched 200 in " not in echo.log(), echo.log()


def test_an_unhandled_exception_leaves_the_connection_as_its_response_has_said(echo: Service) -> None:
    with client(echo.port) as connection:
        for _ in range(3):
            connection.sendall(GET % b"/boom")
            received = connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 500 "), received
            assert b"connection: close" not in received
        connection.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % b"/")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_response_that_ends_the_connection_arrives_while_its_client_still_sends(echo: Service) -> None:
    for _ in range(20):
        with client(echo.port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            for _ in range(50):
                connection.sendall(b"x" * 100)
            assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_worker_does_all_that_the_other_tests_ask_of_it(echo: Service) -> None:
    """Or they would prove nothing of one that does not."""
    assert complaints(echo) == []
