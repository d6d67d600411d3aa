"""Uvicorn's server as one worker runs it."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Generator
from typing import Any

import uvicorn

from coachman.logs import last_words
from coachman.logs.terminal import DETAIL
from coachman.serving import accept
from coachman.serving.balance import ConnectionShare
from coachman.serving.drain import QUICK_STOP_SECONDS, Drain
from coachman.serving.ops_server import OpsServer
from coachman.serving.probe import fault_of_probe, probe_seconds
from coachman.settings import ServerSettings
from coachman.state.scoreboard import Row, Slot
from coachman.state.states import LIFESPAN_ENDED_EXIT_CODE, TASK_DIED_EXIT_CODE, State
from coachman.state.view import is_stable
from coachman.system.tls import Tls

log = logging.getLogger("coachman.serving")

START_FAILED_EXIT_CODE = 3  # as Uvicorn's


class Server(uvicorn.Server):
    """Serves the application, and publishes its state in its row of the scoreboard.

    Without a slot (a worker under a master without our hooks) there is no row to keep.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: ServerSettings,
        slot: Slot | None,
        ops: OpsServer,
        *,
        tls: Tls | None = None,
        share: ConnectionShare | None = None,
        hold_seconds: float = 0,
    ) -> None:
        """`tls`: what the sockets are encrypted with.

        `share`: of the connections that it accepts in turn with other workers; None where it is alone.

        `hold_seconds`: for how long nothing is accepted after the application's start-up has ended.
        """
        super().__init__(config)
        self._share, self._tls = share, tls
        if share is not None:
            self.server_state.connections = share.connections
        self._settings, self._slot, self._ops = settings, slot, ops
        self._hold_seconds = hold_seconds
        self.exit_code = 0
        self._drain: Drain | None = None
        self._is_expedited = False
        self._draining = asyncio.Event()
        self._loops_handler: Any = None  # of SIGTERM, for the interpreter; None before the start
        self._serving: asyncio.Task[Any] | None = None
        self._ready_at = 0.0  # monotonic

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals as the worker has set them.

        A terminal's Ctrl-C reaches the workers too. Uvicorn would stop on it and then die of it, and
        the master would report each worker as killed.
        """
        yield

    def stop(self) -> None:
        """SIGTERM: drains. Uvicorn's method is what libraries patch to learn of it, such as sse-starlette."""
        try:
            self.handle_exit(signal.SIGTERM, None)
        finally:
            self.should_exit = True

    def stop_quickly(self) -> None:
        """Handles SIGQUIT and the end of the master: expedites the drain."""
        self._is_expedited = self.should_exit = True
        if self._drain is not None:
            self._drain.expedite()

    def lifespan_has_ended(self, cause: str) -> None:
        """Drains, since the application has closed its resources; the master replaces the worker."""
        if not self.should_exit and not self._is_cancelled():
            log.error("The application's lifespan has ended by itself: %s. The worker drains.", cause)
            self.exit_code = LIFESPAN_ENDED_EXIT_CODE
            self.should_exit = True

    def _is_cancelled(self) -> bool:
        """Whether the event loop is being closed, with all that runs in it: see Worker.run."""
        return self._serving is not None and bool(self._serving.cancelling())

    def task_has_died(self, name: str, error: BaseException | None) -> None:
        """Drains, since the worker would misbehave without the task; the master replaces it."""
        if self.should_exit and error is None:  # the stop of the service ends the operations listener
            return
        log.critical("The worker's task %r has died, and the worker drains", name, exc_info=error)
        if not self.should_exit:
            self.exit_code = TASK_DIED_EXIT_CODE
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        begun, self._serving = time.monotonic(), asyncio.current_task()
        # The application's way to learn that the worker is going: `await request.state.draining.wait()`.
        self.lifespan.state["draining"] = self._draining
        await super().startup(sockets=[])  # the application's; the sockets' is ours
        if self.lifespan.should_exit:  # its newer versions end the process there themselves
            sys.exit(START_FAILED_EXIT_CODE)
        await asyncio.sleep(self._hold_seconds)
        if self.should_exit:  # the lifespan has ended meanwhile
            return
        await self._prove_itself()
        for listener in sockets or []:
            self.servers.append(await self._listen(listener))
        if self._share is not None:
            self._share.open()
        self._handle_signals()
        self._record(State.READY)
        is_first = self._slot is not None and not self._slot.read().exited_at  # which the master tells of
        log.info(
            "Worker %s is ready after %.2f s",
            self._name(),
            time.monotonic() - begun,
            extra=DETAIL if is_first else None,
        )

    def _handle_signals(self) -> None:
        """Handles the master's signals: SIGTERM drains, SIGQUIT expedites the drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGQUIT, self.stop_quickly)
        self._loops_handler = signal.getsignal(signal.SIGTERM)

    def keep_signals(self) -> None:
        """Handles signals again, where a library has given the event loop a handler in the place of ours.

        Called once a second, for the loop does not tell. A handler by `signal.signal` stays, and runs
        beside ours.
        """
        if self._loops_handler is not None and signal.getsignal(signal.SIGTERM) == self._loops_handler:
            self._handle_signals()

    async def _prove_itself(self) -> None:
        """Requires the probe to be answered, if there is one; else the start-up fails."""
        if path := self._settings.probe:
            forked = self._slot.read().forked_at if self._slot is not None else time.time()
            seconds = probe_seconds(self._settings.boot_seconds, time.time() - forked)
            fault = await fault_of_probe(self._protocol, path, seconds)
            if fault:
                log.error("The application failed its probe (COACHMAN_PROBE): %s", fault)
                await self.lifespan.shutdown()
                sys.exit(START_FAILED_EXIT_CODE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._record(State.DRAINING)
        log.info("Worker %s drains", self._name(), extra=DETAIL)
        if self._share is not None:
            self._share.close()
        for server in self.servers:
            server.close()
        self._draining.set()
        self._ops.stop(expedited=self._is_expedited)  # probes and scrapes go to workers that stay
        self._drain = Drain(self, self._settings.drain_seconds, self._settings.keepalive_seconds)
        if self._is_expedited:
            self._drain.expedite()
        await self._drain.run()
        if cut := self._drain.requests_cut:
            last_words.note_requests_cut(cut)
            log.warning("Worker %s cuts off open requests at the end of its drain: %s", self._name(), cut)
        # What was aborted has a second to notice, when expedited none; then Uvicorn cancels it and ends the
        # lifespan. The sockets are closed: Gunicorn logs a second close as an error.
        cut_at_once = self._is_expedited and self.server_state.tasks
        self.config.timeout_graceful_shutdown = 0 if cut_at_once else QUICK_STOP_SECONDS
        await super().shutdown()

    async def _listen(self, listener: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        if self._share is not None and accept.is_supported(loop):
            return accept.FairListener(listener, self._protocol, self._share, self._tls)
        return await loop.create_server(
            self._protocol, sock=listener, backlog=self.config.backlog, **accept.tls_options(self._tls)
        )

    def _protocol(self) -> asyncio.Protocol:
        """Makes the protocol of a connection, as Uvicorn does."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # of the class, not of its base
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _record(self, state: State) -> None:
        if self._slot is not None:
            now, beat = time.time(), time.monotonic()
            ready = {}
            if state == State.READY:
                self._ready_at, ready = beat, {"ready_at": now}
            elif self.exit_code and not self._is_stable(self._slot.read(), beat):
                # It ends as one that has failed, and its slot backs off. One that has served for long is
                # replaced at once, while it drains.
                ready = {"ready_at": 0.0}
            self._slot.update(state=state, since=now, beat=beat, **ready)

    def _is_stable(self, row: Row, now: float) -> bool:
        """At `now`, monotonic: the row has UNIX times, and the clock may have been set since."""
        return is_stable(row, row.ready_at + now - self._ready_at)

    def _name(self) -> str:
        return f"in slot {self._slot.number}" if self._slot else "without a slot"
