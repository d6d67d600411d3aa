"""What HTTP/1.1 asks of a server, as a table: a request, what must become of it, and who says so."""

from typing import NamedTuple

from tests.conformance.websockets import HANDSHAKE


class Case(NamedTuple):
    rfc: str  # the RFC and its section
    request: bytes
    status: int  # of the response to it
    keeps: bool = True  # the connection serves another request
    has: bytes = b""  # in what is received
    lacks: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.rfc} {self.request[:300]!r}"


HOST = b"Host: h\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1", host: bytes = HOST) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"GET %s HTTP/%s\r\n%s%s\r\n" % (target, version, host, fields)


def post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1", target: bytes = b"/") -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"POST %s HTTP/%s\r\n%s%s\r\n%s" % (target, version, HOST, fields, body)


def chunked(body: bytes) -> bytes:
    return CHUNKED + b"\r\n" + body


def taken(rfc: str, request: bytes, has: bytes = b"", *, lacks: bytes = b"", keeps: bool = True) -> Case:
    return Case(rfc, request, 200, keeps, has, lacks)


def refused(rfc: str, request: bytes, status: int = 400) -> Case:
    return Case(rfc, request, status, keeps=False, has=b"\r\ndate: ", lacks=b'"path"')


METHODS = [
    taken("9110 9.1", b"%s / HTTP/1.1\r\n%s\r\n" % (method, HOST), b'"method": "%s"' % method)
    for method in (b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PROPFIND", b"REPORT")
]

TARGETS = [
    taken("9112 3.2.1", get(target=b"/a?b=c"), b'"path": "/a", "query": "b=c"'),
    taken("9112 3.2.1", get(target=b"/a?b?c"), b'"query": "b?c"'),
    taken("9112 3.2.1", get(target=b"/?"), b'"path": "/", "query": ""'),
    taken("9112 3.2.1", get(target=b"//a//b"), b'"path": "//a//b"'),
    taken("9112 3.2.1", get(target=b"/a%20b"), b'"path": "/a b"'),
    taken("9112 3.2.1", get(target=b"/a;b=1,c@d:e"), b'"path": "/a;b=1,c@d:e"'),
    taken("9112 3.2.2", get(target=b"http://h/a?b"), b'"path": "/a", "query": "b"'),
    taken("9112 3.2.2", get(target=b"HTTP://h/a"), b'"path": "/a"'),
    taken("9112 3.2.2", get(target=b"https://h/a"), b'"path": "/a"'),
    taken("9112 3.2.2", get(target=b"http://other/a"), b'"host: other"', lacks=b'"host: h"'),
    taken("9112 3.2.2", get(target=b"http://other:8080/a"), b'"host: other:8080"'),
    taken("9112 3.2.2", get(target=b"http://h"), b'"path": "/"'),
    taken("9112 3.2.2", get(target=b"http://h?x=1"), b'"path": "/", "query": "x=1"'),
    taken("9112 3.2.4", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b'"path": "*"'),
    taken("9112 3.2.4", b"OPTIONS http://h:8001 HTTP/1.1\r\nHost: h\r\n\r\n", b'"path": "*"'),
    *(
        refused("9112 3.2", get(target=target))
        for target in (
            b"*",
            b"a",
            b"h:80",
            b"ftp://h/",
            b"http:///a",
            b"http://u@h/",
            b"http://a b/",
            b"/a b",
            b"/\x00",
            b"/\xc3\xa9",
        )
    ),
    refused("9112 3.2.3", b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
]

REQUEST_LINES = (
    [
        refused("9112 2.3", get(version=version))
        for version in (b"1.2", b"2.0", b"0.9", b"1", b"1.10", b"01.1", b"9.9", b"x.y")
    ]
    + [
        refused("9112 3", request)
        for request in (
            b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
            b"GET / http/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP 1.1\r\nHost: h\r\n\r\n",
            b"GET /\tHTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET/ HTTP/1.1\r\nHost: h\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\rHost: h\r\r",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        )
    ]
    + [refused("9112 3", b"GET /a\r\nHost: h\r\n\r\n"), refused("9112 3", b"GET /a\r\n\r\n")]
    + [taken("9112 2.2", b"\r\n" + get()), taken("9112 2.2", b"\r\n\r\n" + get())]
)

FIELDS = [
    taken("9112 5", get(b"X: y"), b'"x: y"'),
    taken("9112 5", get(b"X:y"), b'"x: y"'),
    taken("9112 5", get(b"X:  \t y \t"), b'"x: y"'),
    taken("9110 5.5", get(b"X:"), b'"x: "'),
    taken("9110 5.6.2", get(b"!#$%&'*+-.^_`|~09aZ: y"), b"~09az: y"),
    taken("9110 5.5", get(b"X: \xff"), b'"x: \\u00ff"'),
    taken("9110 5.2", get(b"X: 1", b"X: 2"), b'"x: 1", "x: 2"'),
    *(
        refused("9112 5", get(line))
        for line in (
            b"X : y", b"X\t: y", b" X: y", b": y", b"no colon", b"X: y\r\n folded", b"X: y\r\n\tfolded",
            b"X: a\x00b", b"X: a\rb", b"X: a\nb", b"X: a\x01b", b"X: a\x7fb", b"X\x00: y", b"X(: y", b"X\xff: y", b"X\"Y: z",
            b"X Y: z",
        )
    ),
]  # fmt: skip

HOSTS = [
    *(
        taken("9110 7.2", get(host=b"Host: %s\r\n" % host), b'"host: %s"' % host)
        for host in (
            b"h", b"h:80", b"h:", b"shop.example", b"127.0.0.1:8000", b"[::1]", b"[::1]:80", b"a_b", b"a%20b", b"h.", b"",
            b"xn--bcher-kva.example", b"[v1.x]",
        )
    ),
    *(
        refused("9112 3.2", get(host=b"Host: %s\r\n" % host))
        for host in (
            b"a b", b"a/b", b"u@a", b"a:b", b"[::1", b"::1", b"a?b", b"a#b", b"a\\b", b"<a>", b"http://a/", b"a, b", b"a:1:2",
            b"\xff", b"a\x00", b"a\tb", b"%zz", b"[g]", b"a[b", b"a|b", b"h:80 x",
        )
    ),
    refused("9112 3.2", get(host=b"")),
    refused("9112 3.2", get(host=b"Host: h\r\nHost: h\r\n")),
    refused("9112 3.2", get(host=b"Host: h\r\nhost: i\r\n")),
    refused("9112 3.2", get(host=b"", target=b"http://h/")),
    taken("9112 3.2", get(host=b"", version=b"1.0"), keeps=False),
    refused("9112 3.2", get(host=b"Host: h\r\nHost: h\r\n", version=b"1.0")),
]  # fmt: skip

LENGTHS = [
    taken("9112 6.3", post(b"Content-Length: 5", body=b"hello"), b'"body": "hello"'),
    taken("9112 6.3", post(b"Content-Length: 0"), b'"body": ""'),
    taken("9112 6.3", post(), b'"body": ""'),
    taken("9112 6.3", post(b"Content-Length: 005", body=b"hello"), b'"body": "hello"'),
    taken("9112 6.3", get(b"Content-Length: 5") + b"hello", b'"body": "hello"'),
    *(
        refused("9112 6.3", post(*lines, body=b"hello"))
        for lines in (
            (b"Content-Length: +5",), (b"Content-Length: -5",), (b"Content-Length: 0x5",), (b"Content-Length: 5 5",),
            (b"Content-Length: 5, 5",), (b"Content-Length: 5, 6",), (b"Content-Length:",), (b"Content-Length: five",),
            (b"Content-Length: 5.0",), (b"Content-Length: 5;",), (b"Content-Length: \x0b5",), (b"Content-Length: 99999999999999999999",),
            (b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5", b"Content-Length: 6"),
            (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        )
    ),
    refused("9110 15.5.14", post(b"Content-Length: 999999999"), 413),
]  # fmt: skip

TRANSFER_CODINGS = [
    taken("9112 7.1", post(b"Transfer-Encoding: Chunked", body=b"1\r\nx\r\n0\r\n\r\n"), b'"body": "x"'),
    taken("9112 7.1", post(b"transfer-encoding:chunked", body=b"1\r\nx\r\n0\r\n\r\n"), b'"body": "x"'),
    *(
        refused("9112 6.1", post(*lines, body=b"1\r\nx\r\n0\r\n\r\n"), status)
        for lines, status in (
            ((b"Transfer-Encoding: gzip, chunked",), 501), ((b"Transfer-Encoding: identity, chunked",), 501),
            ((b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), 501),
            ((b"Transfer-Encoding: xchunked",), 400), ((b"Transfer-Encoding: chunked, gzip",), 400),
            ((b"Transfer-Encoding: chunked, chunked",), 400), ((b"Transfer-Encoding: identity",), 400),
            ((b"Transfer-Encoding: \x0bchunked",), 400), ((b"Transfer-Encoding : chunked",), 400),
            ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400), ((b"Transfer-Encoding: \"chunked\"",), 400),
            ((b"Transfer-Encoding: chunked;q=1",), 400), ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400),
        )
    ),
    refused("9112 6.1", post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0")),
]  # fmt: skip

CHUNKS = [
    taken("9112 7.1", chunked(b"5\r\nhello\r\n0\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1", chunked(b"a\r\n0123456789\r\n0\r\n\r\n"), b'"body": "0123456789"'),
    taken("9112 7.1", chunked(b"A\r\n0123456789\r\n000\r\n\r\n"), b'"body": "0123456789"'),
    taken("9112 7.1", chunked(b"0005\r\nhello\r\n0\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1", chunked(b"0\r\n\r\n"), b'"body": ""'),
    taken("9112 7.1.1", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1.1", chunked(b"5;a\r\nhello\r\n0;b=c\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1.1", chunked(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'), b'"body": "hello"'),
    refused("9112 7.1.1", chunked(b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"), 431),
    refused("9112 7.1.1", chunked(b"1;" + b"x" * 35 + b"\r\n.\r\n") + (b"1;" + b"x" * 35 + b"\r\n.\r\n") * 2000 + b"0\r\n\r\n", 431),
    *(
        refused("9112 7.1", chunked(body))
        for body in (
            b"X", b"g\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"0x1\r\nx\r\n0\r\n\r\n", b"+1\r\nx\r\n0\r\n\r\n", b"1\nx\r\n0\r\n\r\n", b"1\r\nx\n0\r\n\r\n",
            b"1\rx\r\n0\r\n\r\n", b"1\r\nxy\r\n0\r\n\r\n", b"2\r\nx\r\n0\r\n\r\n", b"\r\n1\r\nx\r\n0\r\n\r\n", b" 1\r\nx\r\n0\r\n\r\n", b"1 1\r\nx\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nx", b"1;a\nb\r\nx\r\n0\r\n\r\n", b"1;a\x00\r\nx\r\n0\r\n\r\n", b"1_0\r\n", b";a\r\nx\r\n0\r\n\r\n",
        )
    ),
]  # fmt: skip

TRAILERS = [
    taken("9110 6.5.1", chunked(b"0\r\n%s: %s\r\n\r\n" % (name, value)), lacks=b"%s: %s" % (name.lower(), value))
    for name, value in (
        (b"X-User", b"admin"),
        (b"Authorization", b"Bearer evil"),
        (b"Host", b"evil"),
        (b"Cookie", b"a=b"),
        (b"X-Forwarded-For", b"1.2.3.4"),
    )
] + [
    taken("9110 6.5.1", chunked(b"1\r\nx\r\n0\r\nX: 1\r\nY: 2\r\n\r\n"), b'"body": "x"', lacks=b'"y: 2"'),
    taken("9110 6.5.1", chunked(b"0\r\nConnection: close\r\n\r\n"), b"connection: close", keeps=False),
    refused("9110 6.5.1", chunked(b"0\r\nContent-Length: 5\r\n\r\n")),  # it may be ignored, too
    refused("9112 7.1.2", chunked(b"0\r\nX : y\r\n\r\n")),
    refused("9112 7.1.2", chunked(b"0\r\nX: y\r\n z\r\n\r\n")),
    refused("9112 7.1.2", chunked(b"0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), 431),
]  # fmt: skip

CONNECTIONS = [
    taken("9112 9.3", get(b"Connection: keep-alive")),
    taken("9112 9.3", get(b"Connection: close"), b"connection: close", keeps=False),
    taken("9112 9.6", get(b"Connection: x, close"), b"connection: close", keeps=False),
    taken("9112 9.6", get(b"Connection: close", b"Connection: x"), b"connection: close", keeps=False),
    taken("9112 9.6", get(b"Connection: CLOSE"), b"connection: close", keeps=False),
    taken("9112 9.3", get(version=b"1.0"), b'"version": "1.0"', keeps=False),
    taken("9112 9.3", get(b"Connection: close", version=b"1.0"), keeps=False),
    Case("9112 9.3", get(target=b"/boom"), 500, keeps=True),
]

EXPECTATIONS = [
    taken("9110 10.1.1", post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"), b'"body": "hello"'),
    taken("9110 10.1.1", post(b"Expect: 100-Continue", b"Content-Length: 5", body=b"hello"), b"HTTP/1.1 100 Continue\r\n\r\n"),
    *(
        taken("9110 10.1.1", post(*lines, b"Content-Length: 5", body=b"hello"), b"HTTP/1.1 100 Continue\r\n\r\n")
        for lines in ((b"Expect: 100-continue", b"Expect: x"), (b"Expect: x, 100-continue",))
    ),
    taken(
        "9110 15.2",
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello", version=b"1.0"),
        b'"body": "hello"', lacks=b" 100 ", keeps=False,
    ),
    refused("9112 7.1", CHUNKED + b"Expect: 100-continue\r\n\r\nX"),
    refused("9110 10.1.1", post(b"Expect: 100-continue", b"Content-Length: 999999999"), 413),
]  # fmt: skip

RESPONSES = [
    Case("9110 6.4.1", get(target=b"/204"), 204, lacks=b"null"),
    Case("9110 8.6", get(target=b"/204"), 204, lacks=b"content-length: 4"),
    Case("9110 6.4.1", get(target=b"/304"), 304, has=b'etag: "1"', lacks=b"null"),
    taken("9112 6.1", get(target=b"/stream"), b"transfer-encoding: chunked"),
    Case(
        "9112 6.1", get(target=b"/stream", version=b"1.0"), 200,
        keeps=False, has=b"\r\n\r\nline 0\nline 1\nline 2\n", lacks=b"transfer-encoding",
    ),
    taken("9110 9.3.2", b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", lacks=b'"HEAD"'),
    Case("9110 9.3.2", b"HEAD / HTTP/1.1\r\n\r\n", 400, keeps=False, has=b"\r\ndate: ", lacks=b"about:blank"),
    taken("9110 6.6.1", get(), b"\r\ndate: "),
]  # fmt: skip

UPGRADES = [
    Case("6455 4.2", HANDSHAKE + b"\r\n", 101, keeps=False),
    Case("6455 4.2", HANDSHAKE + b"Content-Length: 0\r\n\r\n", 101, keeps=False),
    Case("6455 4.2", HANDSHAKE + b"Content-Length: 00\r\n\r\n", 101, keeps=False),
    Case("6455 4.2", HANDSHAKE + b"Cookie: " + b"a" * 8182 + b"\r\n\r\n", 101, keeps=False),
    refused("6585 5", HANDSHAKE + b"Cookie: " + b"a" * 8183 + b"\r\n\r\n", 431),
    Case("6455 4.2", HANDSHAKE.replace(b"/ws", b"/" + b"a" * 8176) + b"\r\n", 101, keeps=False),
    refused("6585 5", HANDSHAKE.replace(b"/ws", b"/" + b"a" * 8177) + b"\r\n", 431),
    Case("9110 5.3", HANDSHAKE + b"Connection: keep-alive\r\n\r\n", 101, keeps=False),
    Case("9110 5.3", HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade") + b"\r\n", 101, keeps=False),
    Case("9110 7.8", HANDSHAKE + b"Upgrade: h2c\r\n\r\n", 101, keeps=False),
    Case("9112 3.2.2", HANDSHAKE.replace(b"GET /ws", b"GET http://h/ws") + b"\r\n", 101, keeps=False, has=b"x-path: /ws"),
    Case("9110 7.8", HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n", 200, keeps=False, has=b'"path": "/ws"'),
    refused("6455 4.1", HANDSHAKE + b"Content-Length: 2\r\n\r\nhi"),
    refused("6455 4.1", HANDSHAKE.replace(b"GET", b"POST") + b"\r\n"),
    taken("9110 7.8", get(b"Upgrade: websocket"), b'"method": "GET"'),
    *(
        taken("9110 7.8", post(b"Connection: Upgrade", b"Upgrade: " + protocol, *lines, body=body), b'"body": "hello"')
        for protocol in (b"h2c", b"foo", b"TLS/1.0, h2c")
        for lines, body in (
            ((b"Content-Length: 5",), b"hello"),
            ((b"Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n"),
        )
    ),
    taken(
        "9110 7.8",
        post(b"Connection: Upgrade", b"Upgrade: foo", b"Content-Length: 31", body=b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"[:31]),
        b"/hidden", lacks=b'"path": "/hidden"',
    ),
    taken("9110 7.8", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")),
]  # fmt: skip

SIZES = [
    refused("9110 15.5.15", get(target=b"/" + b"a" * 9000), 414),
    refused("6585 5", get(b"X: " + b"y" * 40_000), 431),
    refused("6585 5", get(*[b"X: y"] * 120), 431),
    taken("9112 3", get(target=b"/" + b"a" * 7999)),
    taken("9112 5", get(*[b"X: y"] * 90)),
]

GROUPS: dict[str, list[Case]] = {
    "methods": METHODS,
    "targets": TARGETS,
    "request lines": REQUEST_LINES,
    "fields": FIELDS,
    "hosts": HOSTS,
    "lengths": LENGTHS,
    "transfer codings": TRANSFER_CODINGS,
    "chunks": CHUNKS,
    "trailers": TRAILERS,
    "connections": CONNECTIONS,
    "expectations": EXPECTATIONS,
    "responses": RESPONSES,
    "upgrades": UPGRADES,
    "sizes": SIZES,
}
CASES = [case for group in GROUPS.values() for case in group]

ONE_CHUNK = b"1\r\nx\r\n0\r\n\r\n"
# What the parser, llhttp, does otherwise than the RFCs ask. It is left so: what is refused could be read in two
# ways by others, and what is taken is read by everybody in the same way. docs/security.md names each.
DIFFERENCES = [
    *(
        refused(rfc, request)
        for rfc, request in (
            ("9112 5", post(b"Transfer-Encoding: chunked\t", body=ONE_CHUNK)),
            ("9110 5.6.1.2", post(b"Transfer-Encoding: chunked,", body=ONE_CHUNK)),
            ("9112 7.1.1", chunked(b"5 ;a=b\r\nhello\r\n0\r\n\r\n")),
            ("9112 7.1.1", chunked(b"5; a\r\nhello\r\n0\r\n\r\n")),
            ("9110 9.1", b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n"),  # 501 would be better
        )
    ),
    taken("9112 3.2", get(target=b"/a#b"), b'"path": "/a"'),
    taken("9112 2.2", b"\r" + get()),
    taken("9112 2.3", b"GET / RTSP/1.0\r\nHost: h\r\n\r\n", b'"version": "1.0"', keeps=False),
    taken("9112 7.1.1", chunked(b"5;=b\r\nhello\r\n0\r\n\r\n"), b'"body": "hello"'),
    taken("9112 7.1.1", chunked(b"5;a=\r\nhello\r\n0\r\n\r\n"), b'"body": "hello"'),
]
