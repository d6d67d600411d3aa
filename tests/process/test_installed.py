"""The built wheel in a virtual environment that has nothing else of ours, beside other people's packages."""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support import package, web
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.foreground import Installed
from tests.support.load import Load
from tests.support.service import running, wait_until

MAIN = """
    import os
    from contextlib import asynccontextmanager
    from fastapi import FastAPI, Request, WebSocket

    @asynccontextmanager
    async def lifespan(app):
        if os.path.exists("broken"):
            raise RuntimeError("no broker")
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def hello():
        return {"pid": os.getpid()}

    @app.post("/length")
    async def length(request: Request):
        return len(await request.body())

    @app.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())
"""


@pytest.fixture(params=["newest", "oldest"])
def service(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    """The newest of each package, or the oldest of each range beside a FastAPI of its time."""
    is_oldest = request.param == "oldest"
    constraints = [*package.oldest(), "fastapi==0.115.12", "click<8.2"] if is_oldest else []
    python = package.environment(tmp_path / "venv", ["fastapi", str(wheel)], constraints)
    service = Installed(tmp_path, python)
    service.write("main.py", MAIN)
    service.write("queue.py", "")  # of a project with a module named like one of Python's
    with running(service):
        yield service
    shutil.rmtree(tmp_path / "venv")


def test_a_folder_with_a_main_py_starts_respawns_hands_over_and_stops(service: Installed) -> None:
    have_a_session(service)


def have_a_session(service: Installed) -> None:
    """Requests, kill -9, a refused and an accepted handover under load, and a stop."""
    assert service.ask("--version").stdout.startswith("Coachman ")
    assert "serves main:app\n" in service.log()

    assert _pipelined(service, 3) == 3
    assert web.post(f"{service.url}/length", content=b"x" * 1_000_000).json() == 1_000_000
    service.wait_settled()
    before = service.worker_pids()
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    assert wait_until(lambda: len(service.worker_pids() - {killed}) == len(before)), service.log()

    service.wait_settled()
    (service.folder / "broken").touch()
    assert service.ask("handover").returncode == 1
    assert "The application failed: no broker" in service.log()
    (service.folder / "broken").unlink()
    with (
        connect(f"ws://127.0.0.1:{service.port}/echo") as websocket,
        Load(service.port, "/", clients=2, pause=0.01) as load,
    ):
        websocket.send("hello")
        assert websocket.recv(PATIENCE_SECONDS) == "hello"
        done = service.ask("handover")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(PATIENCE_SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012, "service restart"
    assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{service.log()}"

    os.killpg(service.process.pid, signal.SIGTERM)
    assert wait_until(lambda: not _answers(service.url)), service.log()
    assert "Traceback" not in service.log()


def _pipelined(service: Installed, requests: int) -> int:
    """How many of so many requests in one packet are answered with 200."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_SECONDS) as connection:
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall((head + b"\r\n") * (requests - 1) + head + b"Connection: close\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    return answers.count(b"HTTP/1.1 200 ")


def _answers(url: str) -> bool:
    try:
        web.get(url)
    except httpx2.TransportError:
        return False
    return True


def test_a_projects_own_pins_stay_as_they_are(wheel: Path, tmp_path: Path) -> None:
    pins = {
        "fastapi": "0.115.12",
        "gunicorn": "23.0.0",  # LiteLLM pins it, and MLflow needs one below 27
        "prometheus-client": "0.21.1",
        "pydantic-settings": "2.9.1",
        "rich": "13.9.4",
        "typer": "0.15.3",
        "uvicorn": "0.34.2",
        "websockets": "13.1",
    }
    python = package.environment(tmp_path / "venv", [f"{name}=={version}" for name, version in pins.items()])
    package.install(python, str(wheel))

    assert {name: package.installed(python)[name] for name in pins} == pins


def answers(url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return web.get(url).status_code == 200
    return False


def test_dev_starts_anew_on_a_change_and_survives_a_broken_one(wheel: Path, tmp_path: Path) -> None:
    python = package.environment(tmp_path / "venv", ["fastapi", "watchfiles", str(wheel)])
    service = Installed(tmp_path, python)
    service._command_line = [service.command, "dev"]
    main = service.folder / "main.py"

    def says(word: str) -> bool:
        return wait_until(lambda: word in web.get(service.url).text)

    with running(service, ready=False):
        assert says("pid"), service.log()
        assert "GET / " in service.log()  # a line for each request
        first = main.read_text()

        main.write_text(first.replace('"pid"', '"changed"'))
        assert says("changed"), service.log()

        main.write_text("import nowhere_to_be_found\n")
        assert wait_until(lambda: "the next change starts it anew" in service.log()), service.log()
        assert "main.py:1 needs the module nowhere_to_be_found" in service.log()

        main.write_text(first)
        assert says("pid"), service.log()
        os.killpg(service.process.pid, signal.SIGINT)
        assert service.wait_end() == 0

        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):  # none leaves a process on the port
            service.start()
            assert wait_until(lambda: answers(service.url)), service.log()
            service.process.send_signal(signum)
            service.wait_end()
            assert wait_until(lambda: not answers(service.url)), service.log()
    assert "Traceback" not in service.log()
