"""Uvicorn's HTTP protocol with limits, deadlines and one write per answer."""

import asyncio
import contextlib
import enum
from time import monotonic
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from coachman.edge.cork import Cork
from coachman.edge.h2c_upgrade import head_without_upgrade
from coachman.edge.held_flow import HeldFlow
from coachman.edge.patrol import Patrol
from coachman.edge.refusal import Refusal, RefusedError

PIECE_BYTES = 16 * 1024
STALLED_BYTES = 4096  # a client that takes fewer of its answer in the time does not read it
LINGER_SECONDS = 2
LINGER_BYTES = 8 * 1024 * 1024


class Stage(enum.Enum):
    HEAD = enum.auto()  # nothing of a request has come, or a part of its headers
    BODY = enum.auto()
    ANSWER = enum.auto()  # the request is complete
    IDLE = enum.auto()  # kept alive
    REFUSED = enum.auto()  # the refusal is being read, or an earlier request answered; then it ends


HEAD, BODY, ANSWER, IDLE, REFUSED = Stage  # looked up for every request


class HttpProtocol(HttpToolsProtocol):
    """Runs in a worker. What it relies on in Uvicorn: tests/unit/coachman/test_internals.py.

    Written for speed where every request passes: slots keep the instance below the 30 attributes up to which
    CPython finds them without a dictionary, and Uvicorn's methods are called by name, which costs half of
    what super() does.
    """

    __slots__ = (
        "_begun",
        "_body_at",
        "_body_bytes",
        "_has_taken",
        "_head_bytes",
        "_idle_timer",
        "_ignored_bytes",
        "_is_without_upgrade",
        "_limits",
        "_linger",
        "_most_body_bytes",
        "_patrol",
        "_refusal",
        "_running",
        "_since",
        "_stage",
        "_stall",
        "_unread",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        patrol: Patrol,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._patrol, self._limits = patrol, patrol.limits
        self._stage, self._since = HEAD, monotonic()
        self._head_bytes = self._body_bytes = self._most_body_bytes = self._ignored_bytes = 0
        self._body_at = self._begun = 0.0
        self._unread = b""  # has come, but too many requests before it wait for their answers
        self._refusal: Refusal | None = None
        self._running: RequestResponseCycle | None = None
        self._is_without_upgrade = False
        self._stall: tuple[float, int] | None = None  # since when, and with how much unsent
        self._has_taken = False
        self._linger: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Cork(transport, self._patrol.corks, self.loop))  # type: ignore[arg-type]
        self.flow = HeldFlow(self.transport)
        self._patrol.watched.add(self)
        if len(self.connections) > self._limits.connections:
            self._patrol.make_room(len(self.connections), monotonic())
            if len(self.connections) > self._limits.most_connections:
                self._patrol.refusals.count(Refusal.CONNECTIONS)
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patrol.watched.discard(self)
        self._unread = b""
        for timer in (self._linger, self._idle_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._patrol.watched.discard(self)
        self._stage = REFUSED  # nothing more is read here
        self.transport = self.transport.transport  # type: ignore[attr-defined]  # frames leave as they come
        super().handle_websocket_upgrade()

    # Reading

    def data_received(self, data: bytes) -> None:
        was_idle = self._stage is IDLE
        if was_idle:
            self._stage, self._head_bytes = HEAD, 0
        elif self._stage is REFUSED:
            self._ignore(data)
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
        while data and self._stage is not REFUSED:
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
        except httptools.HttpParserError:
            self._refuse(self._refusal or Refusal.MALFORMED)
        # Of a head that has not ended, or of what is neither head nor body: the parser keeps trailers.
        if self._body_bytes != body_bytes:
            self._head_bytes = 0
        elif self._head_bytes > self._limits.head_bytes:
            self._refuse_size_of_head()
        if self._stage is BODY and (self._body_bytes != body_bytes or not self._body_at):
            self._wait_for_body()

    def _wait_for_body(self) -> None:
        now = monotonic()
        self._since, self._body_at = (self._since if self._body_at else now), now

    def _refuse_size_of_head(self) -> None:
        if self._stage is not REFUSED:
            is_in_target = self._stage is HEAD and not self.headers
            self._refuse(Refusal.TARGET_BYTES if is_in_target else Refusal.HEAD_BYTES)

    def _read_on(self) -> None:
        if not self.transport.is_closing() and self._stage is not REFUSED:
            data, self._unread = self._unread, b""
            self._read(data)
            if not self._unread:
                self.flow.release()  # type: ignore[attr-defined]

    def _ignore(self, data: bytes) -> None:
        """What still comes is read: a close with unread bytes resets, and takes the refusal with it."""
        self._ignored_bytes += len(data)
        if self._ignored_bytes > LINGER_BYTES:
            self.transport.abort()

    def _upgrade(self, rest: bytes) -> bytes:
        """What is to be read next. The parser has stopped behind the head, whether or not a body follows."""
        if self._should_upgrade():
            is_busy = self._running is not None and not self._running.response_complete
            has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
            if is_busy or has_body or self.parser.get_method() != b"GET":
                self._refuse(Refusal.UPGRADE)
            else:
                self.handle_websocket_upgrade()
            return b""
        if self._is_without_upgrade or self.parser.get_method() == b"CONNECT":
            self._refuse(Refusal.MALFORMED)
            return b""
        # To be ignored, says RFC 9110. But the parser skips the body, and what comes next of it would be
        # read as a request of its own. So the same head is read again, without the Upgrade.
        head = head_without_upgrade(self.parser, self.url, self.headers)
        self._is_without_upgrade = True
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._begin_head()
        return head + rest

    # The parser's callbacks. An exception in one ends its feed_data with an HttpParserError.

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and not self._should_upgrade():
            return  # _upgrade comes next, and the head once more
        self._check_head()
        HttpToolsProtocol.on_headers_complete(self)
        self._stage, self._is_without_upgrade = BODY, False
        self._body_bytes = self._head_bytes = 0
        self._body_at = 0.0  # see _wait_for_body

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._most_body_bytes:
            self._refuse_head(Refusal.BODY_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._stage is not BODY:  # on_headers_complete has left it to _upgrade
            return
        HttpToolsProtocol.on_message_complete(self)
        self._stage = ANSWER
        if self.cycle is not None and self.cycle.response_complete:  # answered before its body had come
            self._become_idle(monotonic())

    def _begin_head(self) -> None:
        self._stage, self._since, self._head_bytes = HEAD, monotonic(), 0

    def _check_head(self) -> None:
        limits, fields = self._limits, dict(self.headers)
        if len(self.url) > limits.target_bytes:
            self._refuse_head(Refusal.TARGET_BYTES)
        if len(self.headers) > limits.head_fields:
            self._refuse_head(Refusal.HEAD_FIELDS)
        if self._head_bytes > limits.head_bytes and self._head_size() > limits.head_bytes:
            self._refuse_head(Refusal.HEAD_BYTES)
        if b"host" not in fields or len(fields) < len(self.headers):
            self._check_host()
        self._most_body_bytes = limits.body_bytes
        if limits.body_bytes_below:
            self._most_body_bytes = limits.body_bytes_for(self.url.decode("latin-1"))
        if b"content-length" in fields:  # the parser has read it: one, of digits that fit into 64 bits
            length = int(fields[b"content-length"])
            if length > self._most_body_bytes:
                self._refuse_head(Refusal.BODY_BYTES)
        if len(self.connections) > limits.connections:
            self._refuse_head(Refusal.CONNECTIONS)

    def _check_host(self) -> None:
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            self._refuse_head(Refusal.HOST)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_head(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise RefusedError(refusal)

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running, self._begun = cycle, monotonic()
        HttpToolsProtocol._start_asgi_task(self, cycle, app)

    def on_response_complete(self) -> None:
        if self.transport.held:  # type: ignore[attr-defined]
            self.transport.flush()  # type: ignore[attr-defined]
        now = monotonic()
        self._patrol.busy_seconds += now - self._begun
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:  # the same, without a timer for each request
            self.server_state.total_requests += 1
            if self.flow.read_paused:
                self.flow.resume_reading()
        if self.transport.is_closing():
            return
        if self._stage is REFUSED:
            if self._refusal is not None and self._running is not None and self._running.response_complete:
                self._tell(self._refusal)
        elif self._unread:
            if len(self.pipeline) <= self._limits.pipelined // 2:
                self.loop.call_soon(self._read_on)
        elif self._stage is ANSWER and self.cycle.response_complete:
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

    def _refuse(self, refusal: Refusal) -> None:
        """The requests before it on the connection are answered first."""
        self._patrol.refusals.count(refusal)
        was, self._stage = self._stage, REFUSED
        self._refusal, self._unread = refusal, b""
        running = self._running
        is_in_body = was is BODY
        if running is None or (running.response_complete and not is_in_body):
            self._tell(refusal)
        elif not is_in_body:
            pass  # on_response_complete tells
        elif running is not self.cycle:
            self.pipeline.popleft()  # the one that is refused came last
        elif running.response_started:
            self.transport.close()
        else:
            running.disconnected = True
            running.message_event.set()
            self._tell(refusal)

    def _tell(self, refusal: Refusal) -> None:
        self.transport.write(refusal.answer())
        self.flow.release()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone
            self.transport.write_eof()
        self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # What the patrol asks

    def waits_since(self) -> float | None:
        is_owed = self._unread or (self._running is not None and not self._running.response_complete)
        return self._since if self._stage in (HEAD, IDLE) and not is_owed else None

    def evict(self) -> None:
        self.transport.close()

    def check_deadlines(self, now: float) -> None:
        if self._stage is HEAD:
            self._check_head_deadline(now)
        elif self._stage is BODY:
            self._check_body_deadline(now)
        self._check_answer_deadline(now)

    def _check_head_deadline(self, now: float) -> None:
        if self.waits_since() is None:  # for us
            self._since = now
        elif now - self._since > self._limits.head_seconds:
            if self._head_bytes:
                self._refuse(Refusal.HEAD_SECONDS)
            else:
                self._patrol.refusals.count(Refusal.HEAD_SECONDS)
                self.transport.close()  # it has not asked anything: there is nothing to answer

    def _check_body_deadline(self, now: float) -> None:
        if self.flow.read_paused:  # by the application
            self._body_at = now
            return
        seconds = now - self._since - self._limits.body_seconds
        is_slow = seconds > 0 and self._body_bytes < self._limits.body_rate * seconds
        if is_slow or now - self._body_at > self._limits.body_seconds:
            self._refuse(Refusal.BODY_SECONDS)

    def resume_writing(self) -> None:
        self._has_taken = True
        super().resume_writing()

    def _check_answer_deadline(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._stall = None
            return
        since, before = self._stall or (now, unsent)
        if now - since > self._limits.answer_seconds:
            if not self._has_taken and before - unsent < STALLED_BYTES:
                self._patrol.refusals.count(Refusal.ANSWER_SECONDS)
                self.transport.abort()
            since, before, self._has_taken = now, unsent, False
        self._stall = (since, before)
