"""Uvicorn's HTTP protocol with limits, deadlines and one write per response."""

import asyncio
import enum
from time import monotonic
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from coachman.edge.closing import LingeringClose
from coachman.edge.connection_table import ConnectionTable
from coachman.edge.deadlines import WriteProgress, is_body_late
from coachman.edge.h2c_upgrade import head_without_upgrade
from coachman.edge.reading import HoldableFlowControl
from coachman.edge.rejection import RejectedError, Rejection, rejection_of
from coachman.edge.write_buffer import WriteBuffer

PIECE_BYTES = 16 * 1024


class Stage(enum.Enum):
    HEAD = enum.auto()  # nothing of a request has come, or a part of its head
    BODY = enum.auto()  # the head has been accepted, the body is incomplete
    RESPONSE = enum.auto()  # the request is complete
    IDLE = enum.auto()  # kept alive
    CLOSING = enum.auto()  # an error response is sent or queued; further input is discarded


HEAD, BODY, RESPONSE, IDLE, CLOSING = Stage  # looked up for every request


class HttpProtocol(HttpToolsProtocol):
    """A client's connection, as a state machine.

                  a byte          head accepted          body complete
        IDLE ------------> HEAD ---------------> BODY ------------------> RESPONSE
         ^                   |     ^               |                       |    |
         |                   |     +---------------|--- a pipelined head --+    |
         +-------------------|---------------------|---- response sent ---------+
                             v                     v
                          CLOSING: a limit, a deadline, a malformed request.
                          The requests before it are answered first, then the error is sent.

    What it needs of Uvicorn is pinned by tests/unit/coachman/test_internals.py.

    Written for speed where every request passes: slots keep the instance below the 30 attributes up to which
    CPython finds them without a dictionary, and Uvicorn's methods are called by name, which costs half of
    what super() does.
    """

    __slots__ = (
        "_body_at",
        "_body_bytes",
        "_closing",
        "_head_bytes",
        "_idle_timer",
        "_is_without_upgrade",
        "_limits",
        "_max_body_bytes",
        "_running",
        "_since",
        "_stage",
        "_started_at",
        "_table",
        "_unread",
        "_write_progress",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._table, self._limits = table, table.limits
        self._stage, self._since = HEAD, monotonic()
        self._head_bytes = self._body_bytes = self._max_body_bytes = 0
        self._body_at = self._started_at = 0.0
        self._unread = b""  # received, but too many pipelined requests wait for their responses
        self._running: RequestResponseCycle | None = None
        self._is_without_upgrade = False
        self._closing: LingeringClose | None = None
        self._write_progress = WriteProgress()
        self._idle_timer: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(WriteBuffer(transport, self._table.write_buffers, self.loop))  # type: ignore[arg-type]
        self.flow = HoldableFlowControl(self.transport)
        self._table.connections.add(self)
        if len(self.connections) > self._limits.connections:
            self._table.evict_idle(len(self.connections), monotonic())
            if len(self.connections) > self._limits.most_connections:
                self._table.rejections.count(Rejection.CONNECTIONS)
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.connections.discard(self)
        self._unread = b""
        if self._closing is not None:
            self._closing.cancel()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._table.connections.discard(self)
        self._stage = CLOSING  # nothing more is read here
        self.transport = self.transport.transport  # type: ignore[attr-defined]  # frames leave as they come
        super().handle_websocket_upgrade()

    # Reading

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
        """In pieces, so that a limit is noticed before much more than it allows has been kept."""
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
        # Of a head that has not ended, or of what is neither head nor body: the parser keeps trailers.
        if self._body_bytes != body_bytes:
            self._head_bytes = 0
        elif self._head_bytes > self._limits.head_bytes and self._stage is not CLOSING:
            is_in_target = self._stage is HEAD and not self.headers
            self._reject(Rejection.TARGET_BYTES if is_in_target else Rejection.HEAD_BYTES)
        if self._stage is BODY and (self._body_bytes != body_bytes or not self._body_at):
            now = monotonic()
            self._since, self._body_at = (self._since if self._body_at else now), now

    def _read_on(self) -> None:
        if not self.transport.is_closing() and self._stage is not CLOSING:
            data, self._unread = self._unread, b""
            self._read(data)
            if not self._unread:
                self.flow.release()  # type: ignore[attr-defined]

    def _upgrade(self, rest: bytes) -> bytes:
        """What is to be read next. The parser has stopped behind the head, whether or not a body follows."""
        if self._should_upgrade():
            is_busy = self._running is not None and not self._running.response_complete
            has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
            if is_busy or has_body or self.parser.get_method() != b"GET":
                self._reject(Rejection.UPGRADE)
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

    # The parser's callbacks. An exception in one ends its feed_data with an HttpParserError.

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # _upgrade comes next, and the head once more
        self._check_head()
        HttpToolsProtocol.on_headers_complete(self)
        self._stage, self._is_without_upgrade = BODY, False
        self._body_bytes = self._head_bytes = 0
        self._body_at = 0.0  # see _feed

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            raise RejectedError(Rejection.BODY_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._stage is not BODY:  # on_headers_complete has left it to _upgrade
            return
        HttpToolsProtocol.on_message_complete(self)
        self._stage = RESPONSE
        if self.cycle is not None and self.cycle.response_complete:  # answered before its body had come
            self._become_idle(monotonic())

    def _check_head(self) -> None:
        limits, fields = self._limits, dict(self.headers)
        if len(self.url) > limits.target_bytes:
            raise RejectedError(Rejection.TARGET_BYTES)
        if len(self.headers) > limits.head_fields:
            raise RejectedError(Rejection.HEAD_FIELDS)
        if self._head_bytes > limits.head_bytes and self._head_size() > limits.head_bytes:
            raise RejectedError(Rejection.HEAD_BYTES)
        if b"host" not in fields or len(fields) < len(self.headers):
            self._check_host()
        self._max_body_bytes = limits.body_bytes
        if limits.body_bytes_below:
            self._max_body_bytes = limits.body_bytes_for(self.url.decode("latin-1"))
        if b"content-length" in fields:  # the parser has read it: one, of digits that fit into 64 bits
            length = int(fields[b"content-length"])
            if length > self._max_body_bytes:
                raise RejectedError(Rejection.BODY_BYTES)
        if len(self.connections) > limits.connections:
            raise RejectedError(Rejection.CONNECTIONS)

    def _check_host(self) -> None:
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            raise RejectedError(Rejection.HOST)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    # Responses

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running, self._started_at = cycle, monotonic()
        HttpToolsProtocol._start_asgi_task(self, cycle, app)

    def on_response_complete(self) -> None:
        if self.transport.held:  # type: ignore[attr-defined]
            self.transport.flush()  # type: ignore[attr-defined]
        now = monotonic()
        self._table.busy_seconds += now - self._started_at
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:  # the same, without a timer for each request
            self.server_state.total_requests += 1
            if self.flow.read_paused:
                self.flow.resume_reading()
        if self.transport.is_closing():
            return
        if self._closing is not None:
            if self._running is not None and self._running.response_complete:
                self._send_rejection()
        elif self._unread:
            if len(self.pipeline) <= self._limits.pipelined // 2:
                self.loop.call_soon(self._read_on)
        elif self._stage is RESPONSE and self.cycle.response_complete:
            self._become_idle(now)

    def _become_idle(self, now: float) -> None:
        self._stage, self._since = IDLE, now
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        """One timer serves many requests: it may find that there have been some since it was set."""
        self._idle_timer = None
        if self._stage is IDLE:
            rest = self._since + self.timeout_keep_alive - monotonic()
            if rest > 0:
                self._idle_timer = self.loop.call_later(rest, self._end_if_idle)
            else:
                self.timeout_keep_alive_handler()

    def _reject(self, rejection: Rejection) -> None:
        """The requests before it on the connection are answered first."""
        self._table.rejections.count(rejection)
        was, self._stage, self._unread = self._stage, CLOSING, b""
        self._closing = LingeringClose(rejection, self.transport, self.loop)  # type: ignore[arg-type]
        running = self._running
        if running is None or (running.response_complete and was is not BODY):
            self._send_rejection()
        elif was is not BODY:
            pass  # on_response_complete sends it
        elif running is not self.cycle:
            self.pipeline.popleft()  # the one that is rejected came last
        elif running.response_started:
            self.transport.close()
        else:
            running.disconnected = True
            running.waiting_for_100_continue = False
            running.message_event.set()
            self._send_rejection()

    def _send_rejection(self) -> None:
        assert self._closing is not None
        is_head = self.parser.get_method() == b"HEAD"
        response = self._closing.rejection.response(self.server_state.default_headers, is_head=is_head)
        self._closing.begin(response)
        self.flow.release()  # type: ignore[attr-defined]

    # What the connection table asks

    def idle_since(self) -> float | None:
        is_pending = self._unread or (self._running is not None and not self._running.response_complete)
        return self._since if self._stage in (HEAD, IDLE) and not is_pending else None

    def evict(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def check_deadlines(self, now: float) -> None:
        if self._stage is HEAD:
            self._check_head_deadline(now)
        elif self._stage is BODY:
            self._check_body_deadline(now)
        unsent = self.transport.get_write_buffer_size()
        if self._write_progress.is_stalled(now, unsent, self._limits.answer_seconds):
            self._table.rejections.count(Rejection.ANSWER_SECONDS)
            self.transport.abort()

    def _check_head_deadline(self, now: float) -> None:
        if self.idle_since() is None:  # a response is pending
            self._since = now
        elif now - self._since > self._limits.head_seconds:
            if self._head_bytes:
                self._reject(Rejection.HEAD_SECONDS)
            else:
                self._table.rejections.count(Rejection.HEAD_SECONDS)
                self.transport.close()  # it has not asked anything: there is nothing to answer

    def _check_body_deadline(self, now: float) -> None:
        if self.flow.read_paused:  # by the application
            self._body_at = now
        elif is_body_late(now, self._since, self._body_at, self._body_bytes, self._limits):
            self._reject(Rejection.BODY_SECONDS)

    def resume_writing(self) -> None:
        self._write_progress.has_drained = True
        super().resume_writing()
