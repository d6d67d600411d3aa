"""What a request's head must be, decided on its fields."""

import pytest
from websockets import http11

from coachman.edge import request_head
from coachman.edge.limits import Limits
from coachman.edge.rejection import RejectedError, Rejection
from coachman.edge.request_head import Target
from coachman.edge.websocket import handshake, unmapped
from tests.unit.coachman.edge.test_http import LIMITS


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"http://h/a?b", Target(b"/a?b", b"h")),
        (b"GET", b"HTTPS://h:8/", Target(b"/", b"h:8")),
        (b"GET", b"http://h", Target(b"/", b"h")),
        (b"GET", b"http://h?a=b", Target(b"/?a=b", b"h")),
        (b"OPTIONS", b"http://h", Target(b"*", b"h")),
        (b"OPTIONS", b"*", Target(b"*", None)),
    ],
)
def test_a_target_that_is_absolute_is_taken_apart(method: bytes, target: bytes, expected: Target) -> None:
    assert request_head.parse_target(method, target) == expected


@pytest.mark.parametrize("target", [b"*", b"a", b"ftp://h/", b"http:///", b"http://u@h/", b"h:80", b""])
def test_other_targets_are_rejected(target: bytes) -> None:
    with pytest.raises(RejectedError):
        request_head.parse_target(b"GET", target)


def test_the_host_of_an_absolute_target_takes_the_place_of_the_header() -> None:
    fields = [(b"host", b"h"), (b"x", b"y")]

    assert request_head.with_host(fields, b"other") == [(b"host", b"other"), (b"x", b"y")]


def test_not_more_hosts_are_remembered_than_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_head, "valid_hosts", set())
    for number in range(2 * request_head.REMEMBERED_HOSTS):
        assert request_head.is_valid_host(b"h%d" % number)

    assert len(request_head.valid_hosts) == request_head.REMEMBERED_HOSTS


def test_lines_of_a_list_are_one_list() -> None:
    fields = [(b"connection", b"Upgrade, x"), (b"y", b"z"), (b"connection", b"keep-alive,,")]

    assert request_head.tokens(fields, b"connection") == [b"upgrade", b"x", b"keep-alive"]


@pytest.mark.parametrize(
    ("codings", "rejection"),
    [
        ([b"chunked"], None),
        ([b"gzip", b"chunked"], Rejection.TRANSFER_CODING),
        ([b"chunked", b"gzip"], Rejection.MALFORMED),
        ([b"chunked", b"chunked"], Rejection.MALFORMED),
        ([], Rejection.MALFORMED),
    ],
)
def test_the_only_transfer_coding_is_chunked(codings: list[bytes], rejection: Rejection | None) -> None:
    if rejection is None:
        request_head.check_transfer_coding(codings)
        return
    with pytest.raises(RejectedError) as error:
        request_head.check_transfer_coding(codings)
    assert error.value.rejection is rejection


def test_sizes_are_those_of_the_head_alone() -> None:
    limits = Limits(**{**vars(LIMITS), "head_bytes": 20})
    request_head.check_size(b"/", [(b"host", b"h")], limits)

    with pytest.raises(RejectedError) as error:
        request_head.check_size(b"/", [(b"host", b"h" * 20)], limits)
    assert error.value.rejection is Rejection.HEAD_BYTES


def test_a_client_of_ipv4_has_its_address_of_ipv4() -> None:
    assert unmapped(("::ffff:127.0.0.1", 80)) == ("127.0.0.1", 80)
    for client in (("::1", 80), ("127.0.0.1", 80), ("::ffff:1", 80), None):
        assert unmapped(client) == client


def test_a_handshake_names_one_protocol() -> None:
    fields = [(b"upgrade", b"h2c"), (b"host", b"h"), (b"upgrade", b"websocket")]

    assert handshake(b"/ws", fields) == b"GET /ws HTTP/1.1\r\nupgrade: websocket\r\nhost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "fields", "rejection"),
    [
        (b"GET", b"/", [(b"host", b"h")], None),
        (b"POST", b"/", [(b"host", b"h")], Rejection.UPGRADE),
        (b"GET", b"/", [(b"content-length", b"2")], Rejection.UPGRADE),
        (b"GET", b"/", [(b"content-length", b"00")], None),
        (b"GET", b"/", 128 * [(b"x", b"y")], None),
        (b"GET", b"/", 129 * [(b"x", b"y")], Rejection.HANDSHAKE),
        (b"GET", b"/" * 8177, [(b"host", b"h")], None),
        (b"GET", b"/" * 8178, [(b"host", b"h")], Rejection.HANDSHAKE),
        (b"GET", b"/", [(b"cookie", b"a" * 8182)], None),
        (b"GET", b"/", [(b"cookie", b"a" * 8183)], Rejection.HANDSHAKE),
    ],
)
def test_a_handshake_is_handed_over_where_it_is_answered(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], rejection: Rejection | None
) -> None:
    assert request_head.handshake_rejection(method, target, fields) is rejection


def test_the_limits_of_a_handshake_are_those_of_its_parser() -> None:
    limits = (http11.MAX_LINE_LENGTH, http11.MAX_NUM_HEADERS)

    assert limits == (request_head.HANDSHAKE_LINE_BYTES, request_head.HANDSHAKE_FIELDS)
