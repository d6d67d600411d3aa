"""What coachman/serving relies on inside Uvicorn: a new version that changes it fails here first."""

import inspect
from pathlib import Path

import uvicorn
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from coachman.ops.app import OpsApp
from coachman.serving.ops_server import OpsServer


def test_a_server_makes_its_lifespan_and_its_connections_as_ours_does() -> None:
    serve, startup = inspect.getsource(uvicorn.Server._serve), inspect.getsource(uvicorn.Server.startup)

    assert "self.lifespan = config.lifespan_class(config)" in serve
    assert "if not config.loaded:" in serve
    assert "for sock in sockets:" in startup, "without one it listens nowhere"
    for argument in (
        "config=config",
        "server_state=self.server_state",
        "app_state=self.lifespan.state",
        "ssl=config.ssl",
    ):
        assert argument in startup, argument


def test_a_lifespan_runs_the_application_of_its_configuration() -> None:
    assert "app = self.config.loaded_app" in inspect.getsource(LifespanOn.main)
    assert '"lifespan.startup.failed"' in inspect.getsource(LifespanOn.send)


def test_open_connections_are_a_set_that_the_protocols_take_from_the_state() -> None:
    assert type(ServerState().connections) is set
    for protocol in ("http.httptools_impl:HttpToolsProtocol", "websockets.websockets_sansio_impl"):
        module = __import__(f"uvicorn.protocols.{protocol.partition(':')[0]}", fromlist=["x"])
        source = inspect.getsource(module)
        assert "self.connections = server_state.connections" in source
        assert "self.connections.add(self)" in source
        changed = {
            line.split("self.connections.")[1].partition("(")[0]
            for line in source.splitlines()
            if "self.connections." in line
        }
        assert changed <= {"add", "discard", "remove"}, changed


def test_the_second_server_of_a_worker_has_its_application_before_it_serves(tmp_path: Path) -> None:
    """NiceGUI looks for its application at every uvicorn.Server of the process, also in a handover."""
    application = OpsApp(None, None, [], tmp_path)

    assert OpsServer(application, None).config.loaded_app.app is application  # below Uvicorn's own middleware
