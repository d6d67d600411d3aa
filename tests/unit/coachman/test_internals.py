"""What coachman relies on inside Gunicorn and Uvicorn: a new version that changes it fails here first."""

import asyncio
import functools
import inspect
import re

import gunicorn.arbiter
import uvicorn
import uvicorn.lifespan.on
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config as GunicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from coachman.edge.http import HttpProtocol
from coachman.logs.terminal import OF_GUNICORN, OF_UVICORN
from coachman.master.supervisor import Supervisor


async def nothing(scope: object, receive: object, send: object) -> None:
    pass


def test_the_arbiters_loop_consists_of_the_steps_that_the_supervisor_overrides() -> None:
    loop = inspect.getsource(Arbiter.run)
    for step in (
        "wait_for_signals(timeout=1.0)",
        "murder_workers()",
        "manage_workers()",
        "manage_dirty_arbiter()",
    ):
        assert f"self.{step}" in loop
    assert "self.reap_workers()" in inspect.getsource(Arbiter.handle_chld)
    assert "self.reap_workers()" in inspect.getsource(Arbiter.stop)
    assert "cfg.graceful_timeout" in inspect.getsource(Arbiter.stop)
    assert "raise StopIteration" in inspect.getsource(Arbiter.handle_term)


def test_every_method_that_the_supervisor_overrides_is_still_the_arbiters() -> None:
    overridden = {name for name in vars(Supervisor) if not name.startswith("_")} - {"take_over"}

    assert overridden <= set(vars(Arbiter)), overridden - set(vars(Arbiter))


def test_the_arbiter_makes_workers_of_an_attribute_that_the_front_door_replaces() -> None:
    assert "self.worker_class = self.cfg.worker_class" in inspect.getsource(Arbiter.setup)


def test_the_lines_that_a_terminal_does_not_show_are_gunicorns_and_uvicorns() -> None:
    source = inspect.getsource(gunicorn.arbiter) + inspect.getsource(uvicorn.lifespan.on)
    assert [line for line in OF_GUNICORN | OF_UVICORN if f'"{line}"' not in source] == []


def test_gunicorn_gives_the_next_master_the_environment_that_it_was_started_with() -> None:
    assert "self.env_orig = os.environ.copy()" in inspect.getsource(GunicornConfig.__init__)
    assert "environ = self.cfg.env_orig.copy()" in inspect.getsource(Arbiter.reexec)


def test_a_spawn_makes_the_worker_calls_pre_fork_forks_and_keeps_it() -> None:
    spawn = inspect.getsource(Arbiter.spawn_worker)
    steps = [
        "self.worker_class(",
        "self.cfg.pre_fork(self, worker)",
        "os.fork()",
        "self.WORKERS[pid] = worker",
    ]

    assert [spawn.index(step) for step in steps] == sorted(spawn.index(step) for step in steps)
    assert "return pid" in spawn


def test_uvicorns_connections_are_what_the_drain_reads() -> None:
    async def look() -> None:
        config = uvicorn.Config(nothing, http="httptools", ws="websockets-sansio")
        config.load()
        assert isinstance(config.encoded_headers, list)
        http = HttpToolsProtocol(config, ServerState(), {})
        assert http.cycle is None
        assert http.headers is None
        assert http.transport is None
        assert not hasattr(http, "handshake_complete")
        websocket = WebSocketsSansIOProtocol(config, ServerState(), {})
        assert websocket.handshake_complete is False
        assert not hasattr(websocket, "cycle")
        assert {"default_headers", "keep_alive"} <= set(inspect.signature(RequestResponseCycle).parameters)
        assert "self.response_started = False" in inspect.getsource(RequestResponseCycle.__init__)

    asyncio.run(look())


def test_uvicorn_takes_its_default_headers_anew_from_the_configuration_each_second() -> None:
    tick = inspect.getsource(uvicorn.Server.on_tick)

    assert "self.server_state.default_headers = date_header + self.config.encoded_headers" in tick
    assert "counter % 10 == 0" in tick


def test_uvicorns_protocol_calls_what_the_edge_overrides() -> None:
    own = {name for name in vars(HttpProtocol) if not name.startswith("_")} - {
        "end",
        "idle_since",
        "open_seconds",
        "check_deadlines",
    }
    source = inspect.getsource(HttpToolsProtocol)

    assert own <= set(dir(HttpToolsProtocol)), own - set(dir(HttpToolsProtocol))
    for step in (
        "self.parser = httptools.HttpRequestParser(self)",
        "task = self.loop.create_task(cycle.run_asgi(app))",
        "task.add_done_callback(self.tasks.discard)",
        "self.server_state.total_requests += 1",
        "self.pipeline.appendleft((self.cycle, app))",
        "cycle, app = self.pipeline.pop()",
        "self.flow = FlowControl(transport)",
        "protocol.connection_made(self.transport)",
    ):
        assert step in source, step
    assert list(inspect.signature(RequestResponseCycle).parameters) == [
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers",
        "message_event", "expect_100_continue", "keep_alive", "on_response",
    ]  # fmt: skip
    send = inspect.getsource(RequestResponseCycle.send)
    for step in (
        "if self.chunked_encoding is None and",  # False: the body of a response to HTTP/1.0
        "if num_bytes > self.expected_content_length:",
        "self.transport.close()\n                self.on_response()",
    ):
        assert step in send, step
    assert "self.on_response = lambda: None" in inspect.getsource(RequestResponseCycle.run_asgi)
    assert {"disconnected", "response_started", "response_complete", "message_event"} <= set(
        re.findall(r"self\.(\w+) =", inspect.getsource(RequestResponseCycle.__init__))
    )


def test_uvicorn_makes_a_connection_with_whatever_the_configuration_names() -> None:
    """A partial is no class, as Config.http is documented to be."""
    protocol = functools.partial(HttpProtocol, table=None)
    config = uvicorn.Config(nothing, http=protocol)
    config.load()

    assert config.http_protocol_class is protocol
    assert "config.http_protocol_class(" in inspect.getsource(uvicorn.Server.startup)
