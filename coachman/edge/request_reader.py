"""Reads the requests of a connection, with limits."""

import asyncio
import urllib.parse
from time import monotonic
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coachman.edge import request_head
from coachman.edge.closing import LingeringClose
from coachman.edge.connection_table import ConnectionTable
from coachman.edge.h2c_upgrade import head_without_upgrade
from coachman.edge.rejection import RejectedError, Rejection, rejection_of
from coachman.edge.response import Response
from coachman.edge.stage import BODY, CLOSING, HEAD, IDLE, RESPONSE

PIECE_BYTES = 16 * 1024
CHUNK_FRAMING_BYTES = 12  # of a chunk without extensions: eight digits of its size, and two line ends


class RequestReader(HttpToolsProtocol):
    """The half of HttpProtocol, where its stages are drawn, that reads.

    Written for speed where every request passes: slots keep the instance below the 30 attributes up to which
    CPython finds them without a dictionary, and Uvicorn's methods are called by name, which costs half of
    what super() does.
    """

    __slots__ = (
        "_body_at",
        "_body_bytes",
        "_chunks",
        "_closing",
        "_has_trailers",
        "_head_bytes",
        "_is_without_upgrade",
        "_limits",
        "_max_body_bytes",
        "_running",
        "_since",
        "_stage",
        "_table",
        "_unread",
    )

    def __init__(self, *args: Any, table: ConnectionTable, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table, self._limits = table, table.limits
        self._stage, self._since = HEAD, monotonic()
        self._head_bytes = 0  # of the head; in a body of its chunks' framing and of trailers
        self._body_bytes = self._max_body_bytes = self._chunks = 0
        self._body_at = 0.0  # when the last byte of the body came; 0 until the first check
        self._unread = b""  # received, but too many pipelined requests wait for their responses
        self._running: Response | None = None
        self._closing: LingeringClose | None = None
        self._is_without_upgrade = self._has_trailers = False

    def _reject(self, rejection: Rejection) -> None: ...

    def _start(self, cycle: Response) -> None: ...  # runs the application for it

    def _end_early_answered(self) -> None: ...  # the body is complete of a request that has been answered

    def data_received(self, data: bytes) -> None:
        was_idle = self._stage is IDLE
        if was_idle:
            self._stage, self._head_bytes = HEAD, 0
        elif self._stage is CLOSING:
            if self._closing is not None:
                self._closing.discard(data)
            return
        if self._unread:
            self._unread += data
        elif len(data) <= PIECE_BYTES and not self.pipeline:
            self._feed(data)
        else:
            self._read(data)
        if was_idle and self._stage is HEAD:  # the rest of it is to come
            self._since = monotonic()

    def _read(self, data: bytes) -> None:
        """Parses input in pieces, so that a limit is noticed before much more than it allows is buffered."""
        while data and self._stage is not CLOSING:
            if len(self.pipeline) >= self._limits.pipelined:
                self._unread = data
                self.flow.hold()  # type: ignore[attr-defined]
                return
            piece, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        self._head_bytes += len(piece)
        body_bytes = self._body_bytes
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._read(self._upgrade(piece[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            self._reject(rejection_of(error))
        if self._head_bytes > self._limits.head_bytes and self._stage is not CLOSING:
            self._check_framing_size()
        if self._stage is BODY and (self._body_bytes != body_bytes or not self._body_at):
            now = monotonic()
            self._since, self._body_at = (self._since if self._body_at else now), now

    def _check_framing_size(self) -> None:
        """Of a head that has not ended, or of what is neither head nor body: the parser keeps both."""
        chunks = self._chunks if self._stage is BODY else 0
        if self._head_bytes > self._limits.head_bytes + CHUNK_FRAMING_BYTES * chunks:
            is_in_target = self._stage is HEAD and not self.headers
            self._reject(Rejection.TARGET_BYTES if is_in_target else Rejection.HEAD_BYTES)

    def _read_on(self) -> None:
        if not self.transport.is_closing() and self._stage is not CLOSING:
            data, self._unread = self._unread, b""
            self._read(data)
            if not self._unread:
                self.flow.release()  # type: ignore[attr-defined]

    def _upgrade(self, rest: bytes) -> bytes:
        """What is to be read next. The parser has stopped behind the head, whether or not a body follows."""
        if self._should_upgrade():
            rejection = request_head.handshake_rejection(self.parser.get_method(), self.url, self.headers)
            if rejection or not (self._running is None or self._running.response_complete):
                self._reject(rejection or Rejection.UPGRADE)
            else:
                self.handle_websocket_upgrade()
            return b""
        if self._is_without_upgrade or self.parser.get_method() == b"CONNECT":
            self._reject(Rejection.MALFORMED)
            return b""
        # To be ignored, says RFC 9110. But the parser skips the body, and what comes next of it would be
        # read as a request of its own. So the same head is read again, without the Upgrade.
        head = head_without_upgrade(self.parser, self.url, self.headers)
        self._is_without_upgrade = True
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._stage, self._since, self._head_bytes = HEAD, monotonic(), 0
        return head + rest

    def _should_upgrade(self) -> bool:
        return self.ws_protocol_class is not None and request_head.is_websocket_handshake(
            self.parser.get_http_version(), self.headers
        )

    # The parser's callbacks. An exception in one ends its feed_data with an HttpParserError.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are not merged into the headers (RFC 9110, 6.5.1): who checks these has not seen those."""
        if self._stage is BODY:
            self._has_trailers = True
        else:
            self.headers.append((name.lower(), value.strip()))  # the parser leaves a tab behind it

    def on_headers_complete(self) -> None:
        """Replaces Uvicorn's, which does not know Response."""
        parser, scope = self.parser, self.scope
        is_upgrade = parser.should_upgrade()
        if is_upgrade and not self._should_upgrade():
            return  # _upgrade comes next, and the head once more
        version, method = parser.get_http_version(), parser.get_method()
        by_name = self._check_head(version, method)
        if is_upgrade:
            return  # _upgrade comes next, and the WebSocket
        self._stage, self._is_without_upgrade, self._has_trailers = BODY, False, False
        self._body_bytes = self._head_bytes = self._chunks = 0
        self._body_at = 0.0  # see _feed
        scope["method"] = method.decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        target = httptools.parse_url(self.url)
        path = target.path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        scope["path"] = self.root_path + path
        scope["raw_path"] = self.root_path.encode("ascii") + target.path
        scope["query_string"] = target.query or b""
        expects_100 = b"expect" in by_name and request_head.expects_100(version, self.headers)
        previous = self.cycle
        self.cycle = cycle = Response(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            expects_100,
            version == "1.1" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        if previous is None or previous.response_complete:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _check_head(self, version: str, method: bytes) -> dict[bytes, bytes]:
        """The fields by their names. Raises RejectedError."""
        limits, fields, target = self._limits, self.headers, self.url
        by_name = dict(fields)
        is_long = len(target) > limits.target_bytes or self._head_bytes > limits.head_bytes
        if is_long or len(fields) > limits.head_fields:
            request_head.check_size(target, fields, limits)
        if by_name.get(b"host") not in request_head.valid_hosts or len(by_name) < len(fields):
            request_head.check_host(version, fields)
        if not target.startswith(b"/"):
            self.url, authority = request_head.parse_target(method, target)
            if authority is not None:
                fields[:] = request_head.with_host(fields, authority)
        if version != "1.1" and version != "1.0":
            raise RejectedError(Rejection.MALFORMED)
        self._max_body_bytes = limits.body_bytes
        if limits.body_bytes_below or b"content-length" in by_name or b"transfer-encoding" in by_name:
            self._max_body_bytes = request_head.body_limit(version, self.url, fields, by_name, limits)
        if len(self.connections) > self._table.most_open:
            raise RejectedError(Rejection.CONNECTIONS)
        return by_name

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._head_bytes -= len(body)
        if self._body_bytes > self._max_body_bytes:
            raise RejectedError(Rejection.BODY_BYTES)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._stage is not BODY:  # left to _upgrade
            return
        self._stage, self._head_bytes = RESPONSE, 0
        cycle = self.cycle
        if self._has_trailers and not self.parser.should_keep_alive():
            cycle.keep_alive = False  # `Connection: close` in a trailer: the parser reads nothing more
        if cycle.response_complete:
            self._end_early_answered()
        else:
            cycle.more_body = False
            cycle.message_event.set()
