"""The HTTP protocol over real sockets: however the bytes are cut, the answers are the same."""

import asyncio
import contextlib
import re
import socket
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from coachman.edge.connection_table import ConnectionTable
from coachman.edge.http import HttpProtocol
from coachman.edge.limits import Limits
from coachman.edge.rejection import Asked, Rejection, RejectionCounts

LIMITS = Limits(
    head_seconds=10,
    head_bytes=4096,
    head_fields=20,
    target_bytes=512,
    body_bytes=2000,
    body_bytes_below=(("/large", 4000),),
    body_seconds=10,
    answer_seconds=10,
    connections=100,
    most_connections=200,
)
HOST = b"host: here\r\n"
POST = b"POST /a HTTP/1.1\r\n" + HOST
CHUNKED = b"transfer-encoding: chunked\r\n"
LAST = HOST + b"connection: close\r\n"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers what it has understood."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    text = f"{scope['method']} {scope['path']} {body.decode('latin-1')}".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(text))],
        }
    )
    await send({"type": "http.response.body", "body": text})


def ours_with_limits(*arguments: Any) -> HttpProtocol:
    return HttpProtocol(*arguments, table=ConnectionTable(LIMITS, RejectionCounts()))


async def converse(pieces: list[bytes], app: Any = echo, protocol: Any = ours_with_limits) -> bytes:
    """All that the server says, to the end of the connection."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="websockets-sansio", proxy_headers=False)
    config.load()
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await loop.connect_accepted_socket(lambda: protocol(config, ServerState(), {}), theirs)
    received = b""
    for piece in pieces:
        with contextlib.suppress(BrokenPipeError):  # refused before all of it was sent
            await loop.sock_sendall(ours, piece)
        for _ in range(4):
            await asyncio.sleep(0)
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(60):
            while piece := await loop.sock_recv(ours, 65536):
                received += piece
    ours.close()
    await asyncio.sleep(0.001)  # the protocol's connection_lost
    return received


def talk(*pieces: bytes) -> tuple[list[int], str]:
    """The statuses, and the bodies of the answers that are not refusals."""
    received = asyncio.run(converse(list(pieces)))
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]
    bodies = re.findall(rb"(?:GET|POST|PUT) /\S* [^H{]*", received)
    return statuses, b"|".join(bodies).decode()


UPGRADES = [
    b"POST /a HTTP/1.1\r\n" + LAST.replace(b"close", b"close, Upgrade, HTTP2-Settings") + b"upgrade: h2c\r\n"
    b"http2-settings: AAMAAABk\r\ncontent-length: 5\r\n\r\nhello",
    POST + b"connection: upgrade\r\nupgrade: foo\r\ncontent-length: 47\r\n\r\n"
    b"GET /smuggled HTTP/1.1\r\nhost: here\r\nx: 34567890\r\n"
    b"GET /last HTTP/1.1\r\n" + LAST + b"\r\n",
    b"POST /a HTTP/1.1\r\n"
    + HOST
    + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\nGET /last HTTP/1.1\r\n" + LAST + b"\r\n",
    b"GET /a HTTP/1.1\r\n" + HOST + b"upgrade: h2c\r\nconnection: upgrade\r\n\r\n"
    b"GET /last HTTP/1.1\r\n" + LAST + b"\r\n",
]
CONVERSATIONS = [
    *UPGRADES,
    b"GET /a HTTP/1.1\r\n" + LAST + b"\r\n",
    POST + b"content-length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n" + LAST + b"\r\n",
    b"POST /a HTTP/1.1\r\n" + LAST + CHUNKED + b"\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nz: 1\r\n\r\n",
    b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n" + b"GET /b HTTP/1.1\r\n" + HOST + b"bad header\r\n\r\n",
    POST + b"content-length: 3000\r\n\r\n" + b"." * 3000,
    b"POST /large HTTP/1.1\r\n" + LAST + b"content-length: 3000\r\n\r\n" + b"." * 3000,
    b"POST /a HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n" + b"400\r\n" + b"." * 1024 + b"\r\n",
    b"GET /" + b"a" * 600 + b" HTTP/1.1\r\n" + LAST + b"\r\n",
    b"GET /a HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 30 + b"\r\n",
    b"POST /a HTTP/1.1\r\n"
    + HOST
    + b"upgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi",
]


@pytest.mark.parametrize("sent", CONVERSATIONS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_answers_do_not_depend_on_how_the_bytes_are_cut(sent: bytes, data: st.DataObject) -> None:
    if b"400\r\n" in sent:
        sent += b"400\r\n" + b"." * 1024 + b"\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    pieces = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

    assert talk(*pieces) == talk(sent)


@pytest.mark.parametrize("sent", UPGRADES)
def test_an_upgrade_that_is_not_spoken_is_ignored_and_its_body_is_the_requests(sent: bytes) -> None:
    for cut in (len(sent), sent.index(b"\r\n\r\n") + 4):
        statuses, bodies = talk(sent[:cut], sent[cut:])

        assert set(statuses) == {200}
        assert "/smuggled" not in bodies.replace("POST /a GET /smuggled", "")
        assert bodies.startswith(("POST /a hello", "POST /a GET /smuggled", "GET /a"))


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: 5\r\ncontent-length: 5\r\n",
        b"content-length: 5, 5\r\n",
        b"content-length: +5\r\n",
        b"content-length: -5\r\n",
        b"content-length: 0x5\r\n",
        b"content-length: 5 5\r\n",
        b"content-length:\r\n",
        b"content-length: 99999999999999999999999\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"x: y\r\n folded\r\n",
        b"x: y\n",
        b"x : y\r\n",
        b"x\x00y: z\r\n",
        b"x: y\x00z\r\n",
        b"x: y\rz\r\n",
        b": y\r\n",
        b"no colon\r\n",
        b"host: there\r\n",
    ],
)
def test_a_head_that_two_could_read_in_two_ways_is_refused(head: bytes) -> None:
    statuses, _ = talk(POST + head + b"\r\n" + b"0\r\n\r\nGET /b HTTP/1.1\r\n" + LAST + b"\r\n")

    assert statuses == [400]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1\n" + HOST + b"\r\n",
        b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT here:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/9.9\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        POST + CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n5\r\nhelloX0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(sent: bytes) -> None:
    statuses, _ = talk(sent)

    assert statuses == [400]


def test_a_request_before_a_broken_one_is_answered_first() -> None:
    good = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
    statuses, bodies = talk(good + good + b"\x00broken\r\n\r\n" + good)

    assert statuses == [200, 200, 400]
    assert bodies == "GET /a |GET /a "


def test_every_refusal_says_what_it_is() -> None:
    for rejection in Rejection:
        if rejection.status:
            head, _, body = rejection.response().partition(b"\r\n\r\n")
            assert b"HTTP/1.1 %d " % rejection.status in head
            assert b"content-length: %d\r\n" % len(body) in head
            assert b"connection: close" in head
            assert rejection.detail.encode() in body


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (
            b"POST /a?token=x HTTP/1.1\r\n" + HOST + b"content-length: 2001\r\n\r\n",
            "POST /a is rejected with 413: The request's body is too large."
            " The limit is 2000 bytes, of COACHMAN_BODY_BYTES.",
        ),
        (
            b"POST /large/x HTTP/1.1\r\n" + HOST + b"content-length: 4001\r\n\r\n",
            "POST /large/x is rejected with 413: The request's body is too large."
            " The limit is 4000 bytes, of COACHMAN_BODY_BYTES_BELOW.",
        ),
        (
            b"GET /a HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 30 + b"\r\n",
            "GET /a is rejected with 431: The request has too many headers."
            " The limit is COACHMAN_HEAD_FIELDS=20.",
        ),
        (b"GET /a HTTP/1.1\r\n\r\n", "GET /a is rejected with 400: A request has exactly one Host header"),
    ],
)
def test_a_rejection_is_told_with_its_request_and_the_setting(
    sent: bytes, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    talk(sent)

    assert any(record.message.startswith(told) for record in caplog.records), caplog.text


def test_a_rejection_of_each_kind_is_told_once_until_the_next_summary(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = ConnectionTable(LIMITS, RejectionCounts())
    for path in ("/first", "/second"):
        table.reject(Rejection.BODY_BYTES, Asked("POST", path))
    table.reject(Rejection.EVICTED, Asked())

    assert [record.message for record in caplog.records] == [
        "POST /first is rejected with 413: The request's body is too large."
        " The limit is 2000 bytes, of COACHMAN_BODY_BYTES.",
        "A connection is closed: The connection made room for another one. The limit is"
        " COACHMAN_CONNECTIONS=100.",
    ]
    assert (
        table.rejections.take_summary()
        == "2 body-bytes (COACHMAN_BODY_BYTES), 1 evicted (COACHMAN_CONNECTIONS)"
    )


@pytest.mark.parametrize(
    ("origin", "is_named"),
    [(b"https://shop.example", True), (b"null", True), (b"a" * 300, False), (b"", False)],
)
def test_the_script_of_another_origin_sees_the_status_of_a_rejection(origin: bytes, is_named: bool) -> None:
    sent = b"POST /a HTTP/1.1\r\n" + HOST + b"content-length: 2001\r\n"
    received = asyncio.run(converse([sent + (b"origin: " + origin + b"\r\n" if origin else b"") + b"\r\n"]))

    head = received.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 413 ")
    assert (b"\r\naccess-control-allow-origin: " + origin + b"\r\n" in head) is is_named
    assert (b"access-control-allow-credentials: true" in head) is is_named


def test_limits_of_paths_take_the_longest_prefix() -> None:
    limits = Limits(**{**vars(LIMITS), "body_bytes_below": (("/large/er", 9), ("/large", 4000))})

    assert [limits.body_bytes_for(path) for path in ("/large/er/x", "/largest", "/")] == [9, 4000, 2000]


def scopes_of(sent: bytes, protocol: Any) -> list[dict[str, Any]]:
    """What an application is told of the requests, without what is made for each."""
    scopes = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        scopes.append({key: value for key, value in scope.items() if key not in ("client", "server")})
        await echo(scope, receive, send)

    asyncio.run(converse([sent], keep, protocol))
    return scopes


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a%20b/c?d=e&f HTTP/1.1\r\n" + LAST + b"\r\n",
        b"GET /%C3%A9?%20#f HTTP/1.1\r\n" + LAST + b"X-Y: Z\r\nX-Y: 2\r\n\r\n",
        b"POST //a?b?c HTTP/1.1\r\n" + LAST + b"content-length: 5\r\n\r\nhello",
        b"OPTIONS * HTTP/1.1\r\n" + LAST + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\n" + HOST + b"\r\nGET /b HTTP/1.1\r\n" + LAST + b"\r\n",
    ],
)
def test_an_application_is_told_what_uvicorn_would_tell_it(sent: bytes) -> None:
    """Our protocol makes the scope itself."""
    ours = scopes_of(sent, ours_with_limits)
    stock = scopes_of(sent, HttpToolsProtocol)

    assert ours == stock
    assert len(ours) == sent.count(b" HTTP/1.")
