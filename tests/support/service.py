"""Starts the real Gunicorn, as an operator would, and watches it from outside."""

import contextlib
import functools
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.support import web
from tests.support.deadlines import COMMAND_SECONDS, PATIENCE_SECONDS, REQUEST_SECONDS
from tests.support.fast_clock import value_of
from tests.support.ports import free_port

REPOSITORY = Path(__file__).parents[2]
GUNICORN = Path(sys.executable).with_name("gunicorn")
ACTIVATE = Path(__file__).with_name("activate.py")
APPS = str(Path(__file__).with_name("apps"))
FAST = Path(__file__).with_name("fast_config.py")


def wait_until(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether the condition came true in time. A service that is not there yet is no error."""
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline  # the condition itself may take long
        with contextlib.suppress(httpx2.TransportError):
            if condition():
                return True
        if is_last:
            return False
        time.sleep(0.05)  # between two looks, never instead of one


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def is_port_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def unmeasured(environment: dict[str, str]) -> dict[str, str]:
    """For a process that can write no files: it would complain that it cannot write its coverage."""
    return {key: value for key, value in environment.items() if not key.startswith("COVERAGE_PROCESS")}


@functools.cache
def migrated() -> bytes:
    """The file that `python -m app migrate` makes, which is run once."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        subprocess.run(
            [sys.executable, "-m", "app", "migrate"],
            check=True,
            env=os.environ | {"SHOP_DATABASE_URL": f"sqlite:///{file}"},
            cwd=REPOSITORY,
            timeout=COMMAND_SECONDS,
        )
        return file.read_bytes()


def small(app: str, folder: Path) -> dict[str, str]:
    """The settings of that application of apps/."""
    return {
        "COACHMAN_APP": f"{app}:app",
        "COACHMAN_WORKERS": "2",
        "PYTHONPATH": APPS,
        "FOLDER": str(folder),
    }


class Service:
    """A Gunicorn master with its workers, on free ports, with a database of its own."""

    def __init__(self, folder: Path, *arguments: str, app: str = "", **settings: str) -> None:
        """`app`: one of apps/, with two workers, and FOLDER for what a test tells it; else the shop."""
        self.port, self.ops_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ops_url = f"http://127.0.0.1:{self.ops_port}"
        self._log = folder / "service.log"
        self.environment = os.environ | {
            "COACHMAN_BIND": f"127.0.0.1:{self.port}",
            "COACHMAN_OPS_BIND": f"127.0.0.1:{self.ops_port}",
            "COACHMAN_RUNTIME_DIR": f"{folder}/run",
            "SHOP_DATABASE_URL": f"sqlite:///{folder}/stock.db",
            "COACHMAN_LOG_FORMAT": "text",  # a file would get JSON
            **(small(app, folder) if app else {}),
            **settings,
        }
        self._arguments = arguments
        self.config: Path | None = FAST  # None: as it ships, with the constants as they are
        self.output: int | None = None  # where the log goes instead of the file that log() reads
        self.most_files: int | None = None  # its RLIMIT_NOFILE
        self.held_sockets: tuple[socket.socket, ...] = ()  # public ones and ops, as systemd holds them

    def migrate(self) -> None:
        """Puts a new, empty database where its settings name one."""
        url = self.environment["SHOP_DATABASE_URL"]
        Path(url.removeprefix("sqlite:///")).write_bytes(migrated())

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log if self.output is None else self.output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, as a terminal gives it
                pass_fds=[held.fileno() for held in self.held_sockets],
            )

    def _command(self) -> list[str]:
        command = [str(GUNICORN)] if self.config is None else [str(GUNICORN), "--config", str(self.config)]
        command += [argument.format(port=self.port) for argument in self._arguments]
        if self.most_files is not None:
            command = ["prlimit", f"--nofile={self.most_files}", *command]
        if not self.held_sockets:
            return command
        files = ",".join(str(held.fileno()) for held in self.held_sockets)
        return [sys.executable, str(ACTIVATE), files, *command]

    def wait_ready(self) -> None:
        assert wait_until(self.is_ready, seconds=2 * PATIENCE_SECONDS), f"not ready in time\n{self.log()}"

    def wait_settled(self) -> None:
        """Until no worker became ready just now: to end so soon counts as a failed start."""
        just_now = value_of("MIN_UPTIME_SECONDS", self.environment) if self.config else 1.0

        def settled() -> bool:
            ages = [time.time() - datetime.fromisoformat(slot["since"]).timestamp() for slot in self.slots()]
            return self.is_ready() and min(ages) > just_now

        assert wait_until(settled), f"a worker became ready again and again\n{self.log()}"

    def wait_end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the service did not end in {seconds} s\n{self.log()}") from None

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"the service ended with {self.process.returncode}\n{self.log()}"
        return web.get(f"{self.ops_url}/readyz").status_code == 200

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = web.get(f"{self.ops_url}/readyz").json()
        return report

    def slots(self) -> list[dict[str, Any]]:
        slots: list[dict[str, Any]] = self.report()["slots"]
        return slots

    def last_exit(self, slot: int) -> dict[str, Any]:
        """Of the worker before the present one in that slot; empty when there was none."""
        return self.slots()[slot]["last_exit"] or {}

    def worker_pids(self) -> set[int]:
        return {slot["pid"] for slot in self.slots() if slot["state"] == "ready"}

    @contextlib.contextmanager
    def asked(self, path: str) -> Iterator[http.client.HTTPConnection]:
        """A connection with a request on it, whose answer is still to come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", path)
        with contextlib.closing(connection):
            yield connection

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the operator's command says of it."""
        return subprocess.run(
            [sys.executable, "-m", "coachman", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        """Leaves nothing behind, also of a service whose master is gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(REQUEST_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(REQUEST_SECONDS)


@contextlib.contextmanager
def running(service: Service, *, ready: bool = True) -> Iterator[Service]:
    service.start()
    try:
        if ready:
            service.wait_ready()
        yield service
    finally:
        service.end()
