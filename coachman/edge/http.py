"""Uvicorn's HTTP protocol with limits, deadlines and one write per response."""

import asyncio
from time import monotonic
from typing import Any

from coachman.edge.closing import LingeringClose
from coachman.edge.connection_table import ConnectionTable
from coachman.edge.deadlines import WriteProgress, is_body_late
from coachman.edge.flow_control import HoldableFlowControl
from coachman.edge.rejection import REJECTED, Asked, Rejection
from coachman.edge.request_reader import RequestReader
from coachman.edge.response import Response
from coachman.edge.stage import BODY, CLOSING, HEAD, IDLE, RESPONSE
from coachman.edge.websocket import hand_over, unmapped
from coachman.edge.write_buffer import WriteBuffer

HALF_CLOSED_SECONDS = 2.0


class HttpProtocol(RequestReader):
    """A client's connection, as a state machine.

                  a byte          head accepted          body complete
        IDLE ------------> HEAD ---------------> BODY ------------------> RESPONSE
         ^                   |     ^               |                       |    |
         |                   |     +---------------|--- a pipelined head --+    |
         +-------------------|---------------------|---- response sent ---------+
                             v                     v
                          CLOSING: a limit, a deadline, a malformed request.
                          The requests before it are answered first, then the error is sent.

    A client that ends its sending side changes no stage; the connection ends with its last response.
    What it needs of Uvicorn is pinned by tests/unit/coachman/test_internals.py.
    """

    __slots__ = ("_has_eof", "_idle_timer", "_quiet_since", "_started_at", "_write_progress", "_writes")

    def __init__(self, *args: Any, table: ConnectionTable, **kwargs: Any) -> None:
        super().__init__(*args, table=table, **kwargs)
        self._started_at, self._has_eof, self._write_progress = 0.0, False, WriteProgress()
        self._writes, self._quiet_since = -1, 0.0  # of a client that has ended its sending side
        self._idle_timer: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(WriteBuffer(transport, self._table.write_buffers, self.loop))  # type: ignore[arg-type]
        self.client = unmapped(self.client)
        self.flow = HoldableFlowControl(self.transport)
        self._table.connections.add(self)
        if not self._table.has_room(len(self.connections), monotonic()):
            self._table.reject(Rejection.CONNECTIONS, Asked())
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._table.connections.discard(self)
        self._unread = b""
        if self._closing is not None:
            self._closing.cancel()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has ended its sending side, which is no abort (RFC 9112, 9.6): it gets its responses.

        Whether to keep the connection. TLS cannot.
        """
        if not self._has_pending_response() or self._stage is BODY or self.scheme == "https":
            return False
        self._has_eof = True
        if not self._unread and not self.cycle.response_started:
            self.cycle.keep_alive = False
        return True

    def handle_websocket_upgrade(self) -> None:
        """Replaces Uvicorn's, which knows neither mapped addresses nor several Upgrade lines."""
        self._table.connections.discard(self)
        self.connections.discard(self)
        self._stage = CLOSING  # nothing more is read here
        self.transport = self.transport.transport  # type: ignore[attr-defined]  # frames leave as they come
        hand_over(self, self.transport)

    # Responses

    def _start(self, cycle: Response) -> None:
        """Replaces Uvicorn's _start_asgi_task, which exists only since version 0.45."""
        self._running, self._started_at = cycle, monotonic()
        if (closer := self._table.closer) is not None and closer.to_close:
            cycle.closer = closer
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        if self.transport.held:  # type: ignore[attr-defined]
            self.transport.flush()  # type: ignore[attr-defined]
        now = monotonic()
        self._table.busy_seconds += now - self._started_at
        if self._running is not None and self._running.ends_connection:
            self._end()
        # In the place of Uvicorn's, which sets a timer for each request.
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self.pipeline:
                self._start(self.pipeline.pop()[0])  # type: ignore[arg-type]  # all are of ours
        if (
            self._stage is RESPONSE
            and self.cycle.response_complete
            and not self._has_eof
            and not self._unread
        ):
            self._become_idle(now)
        elif not self.transport.is_closing():
            self._continue()

    def _end(self) -> None:
        """Closes the connection after a response with `connection: close`."""
        if self.scheme == "https":
            self.transport.close()  # TLS ends both sides at once
        else:
            self._stage = CLOSING
            self._closing = LingeringClose(None, self.transport, self.loop)  # type: ignore[arg-type]
            self._closing.begin()

    def _continue(self) -> None:
        """What is next on a connection with other than a complete request before it."""
        if self._closing is not None:
            if self._running is not None and self._running.response_complete:
                self._send_rejection()
        elif self._unread:
            if len(self.pipeline) <= self._limits.pipelined // 2:
                self.loop.call_soon(self._read_on)
        elif self._has_eof and not self._has_pending_response():
            self.transport.close()

    def _end_early_answered(self) -> None:
        if self.cycle.keep_alive:
            self._become_idle(monotonic())
        else:
            self._end()

    def _has_pending_response(self) -> bool:
        running = self._running
        return bool(self._unread) or not (
            running is None or running.response_complete or running.disconnected
        )

    def _become_idle(self, now: float) -> None:
        self._stage, self._since = IDLE, now
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        """Ends an idle connection. One timer serves many requests: some may have come since it was set."""
        self._idle_timer = None
        if self._stage is IDLE:
            rest = self._since + self.timeout_keep_alive - monotonic()
            if rest > 0:
                self._idle_timer = self.loop.call_later(rest, self._end_if_idle)
            else:
                self.timeout_keep_alive_handler()

    def _reject(self, rejection: Rejection) -> None:
        """Rejects a request, after the earlier requests on the connection have been answered."""
        self._table.reject(rejection, Asked.of(self))
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
            running.scope[REJECTED] = rejection.status  # type: ignore[literal-required]
            running.waiting_for_100_continue = False  # nothing is written behind the end of the sending side
            running.message_event.set()
            self._send_rejection()

    def _send_rejection(self) -> None:
        assert self._closing is not None
        assert self._closing.rejection is not None
        response = self._closing.rejection.response(self.server_state.default_headers, Asked.of(self))
        self._closing.begin(response)
        self.flow.release()  # type: ignore[attr-defined]

    def resume_writing(self) -> None:
        self._write_progress.has_drained = True
        super().resume_writing()

    # What the connection table asks

    def idle_since(self) -> float | None:
        return self._since if self._stage in (HEAD, IDLE) and not self._has_pending_response() else None

    def open_seconds(self, now: float) -> float:
        return now - self._started_at if (one := self._running) and not one.response_complete else 0.0

    def end(self, *, at_once: bool) -> None:
        (self.transport.abort if at_once else self.transport.close)()

    def check_deadlines(self, now: float) -> None:
        if self._stage is HEAD:
            self._check_head_deadline(now)
        elif self._stage is BODY:
            self._check_body_deadline(now)
        if self._has_eof:
            self._check_half_closed(now)
        unsent = self.transport.get_write_buffer_size()
        if self._write_progress.is_stalled(now, unsent, self._limits.answer_seconds):
            self._table.reject(Rejection.ANSWER_SECONDS, Asked.of(self))
            self.transport.abort()

    def _check_head_deadline(self, now: float) -> None:
        if self._has_pending_response():
            self._since = now
        elif now - self._since > self._limits.head_seconds:
            if self._head_bytes:
                self._reject(Rejection.HEAD_SECONDS)
            else:
                self._table.rejections.count(Rejection.HEAD_SECONDS)
                self.transport.close()  # it has not asked anything: there is nothing to answer

    def _check_body_deadline(self, now: float) -> None:
        is_waiting = self.cycle.waiting_for_100_continue and not self._body_bytes  # as it should
        if self.flow.read_paused:  # by the application
            self._body_at = now
        elif is_waiting:
            self._since = self._body_at = now
        elif is_body_late(now, self._since, self._body_at, self._body_bytes, self._limits):
            self._reject(Rejection.BODY_SECONDS)

    def _check_half_closed(self, now: float) -> None:
        """Reports http.disconnect to an application once its half-closed client got nothing for a while.

        A client that has gone altogether looks the same until something is sent to it.
        """
        writes: int = self.transport.writes  # type: ignore[attr-defined]
        if writes != self._writes:
            self._writes, self._quiet_since = writes, now
        elif self._running is not None and now - self._quiet_since > HALF_CLOSED_SECONDS:
            self._running.half_close()
