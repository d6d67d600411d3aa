"""Requests without an end, by one connection. Each returns once it is refused, or has sent what it may."""

from tests.abuse.client import HEAD, Attacker

MEGABYTE = 1024 * 1024
MOST_BYTES = 200 * MEGABYTE
CHUNKED = b"POST /length HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"


def many_headers(attacker: Attacker) -> None:
    attacker.send(HEAD)
    attacker.send_until_refused(b"".join(b"x-%d: y\r\n" % number for number in range(5000)), most=MOST_BYTES)


def endless_value(attacker: Attacker) -> None:
    attacker.send(HEAD + b"x: ")
    attacker.send_until_refused(b"y" * MEGABYTE, most=MOST_BYTES)


def endless_name(attacker: Attacker) -> None:
    attacker.send(HEAD)
    attacker.send_until_refused(b"y" * MEGABYTE, most=MOST_BYTES)


def endless_target(attacker: Attacker) -> None:
    attacker.send(b"GET /")
    attacker.send_until_refused(b"y" * MEGABYTE, most=MOST_BYTES)


def endless_body(attacker: Attacker) -> None:
    attacker.send(CHUNKED)
    attacker.send_until_refused(b"100000\r\n" + b"." * MEGABYTE + b"\r\n", most=MOST_BYTES)


def endless_chunk_extension(attacker: Attacker) -> None:
    attacker.send(CHUNKED + b"5;")
    attacker.send_until_refused(b"x" * MEGABYTE, most=MOST_BYTES)


def endless_trailers(attacker: Attacker) -> None:
    attacker.send(CHUNKED + b"0\r\n")
    attacker.send_until_refused(b"x: " + b"y" * MEGABYTE + b"\r\n", most=MOST_BYTES)


def pipeline_that_is_never_read(attacker: Attacker) -> None:
    attacker.send((HEAD + b"\r\n") * (9 * MEGABYTE // len(HEAD)), seconds=2)


ENDLESS = (
    many_headers,
    endless_value,
    endless_name,
    endless_target,
    endless_body,
    endless_chunk_extension,
    endless_trailers,
    pipeline_that_is_never_read,
)
