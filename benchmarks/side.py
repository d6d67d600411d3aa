"""One side of a comparison: a Gunicorn master with its workers and a database of its own."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))
STOCK_WORKER = "uvicorn_worker.UvicornWorker"
APP, REQUEST = "app.main:app", "/items?limit=1"
LIMIT_SECONDS = 60.0
STOP_SECONDS = 15.0


class BenchmarkError(Exception):
    """Why there is no result, for the one who ran the program."""


class Side:
    def __init__(
        self, name: str, workers: int, folder: Path, app: str, request: str, settings: dict[str, str]
    ) -> None:
        self.name, self._request = name, request
        self.port, self.ops_port = free_port(), free_port()
        self.prefix: list[str] = []  # what starts the command
        self._log = folder / "service.log"
        self._environment = untouched_environment() | {"SHOP_DATABASE_URL": f"sqlite:///{folder}/stock.db"}
        address = f"127.0.0.1:{self.port}"
        if name.startswith("ours"):
            self._arguments = []
            self._environment |= {
                "COACHMAN_APP": app,
                "COACHMAN_BIND": address,
                "COACHMAN_OPS_BIND": f"127.0.0.1:{self.ops_port}",
                "SHOP_KEYS_FILE": f"{folder}/keys",  # none: the other sides ask for no key either
                "COACHMAN_RUNTIME_DIR": f"{folder}/run",
                "COACHMAN_WORKERS": str(workers),
                **settings,
            }
        else:
            # /dev/null, or Gunicorn would read the gunicorn.conf.py of the folder it runs in.
            stock = f"{app} --workers {workers} --worker-class {STOCK_WORKER} --bind {address}"
            self._arguments = [*stock.split(), "-c", os.devnull, "--no-control-socket"]

    def migrate(self) -> None:
        command = [sys.executable, "-m", "app", "migrate"]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        if done.returncode:
            raise BenchmarkError(f"`python -m app migrate` failed:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        with self._log.open("wb") as log:
            self.master = subprocess.Popen(
                self.command(),
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the benchmark, which then ends both sides
            )

    def command(self) -> list[str]:
        return [*self.prefix, GUNICORN, *self._arguments]

    def end(self) -> None:
        """Leaves nothing behind, also when it is interrupted itself."""
        try:
            self.master.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.master.wait(STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.master.pid, signal.SIGKILL)
            self.master.wait(STOP_SECONDS)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def answers(self) -> bool:
        """Whether a request on a connection of its own is answered. One that meets a dying worker is not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_SECONDS)
        with contextlib.closing(connection):
            try:
                connection.request("GET", self._request)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return False
        if answer.status != 200:
            raise self.failure(f"answered {self._request} with {answer.status}")
        return True

    def cpu_seconds(self) -> float:
        """Of the workers that live, user and system."""
        ticks = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def wait_until(self, condition: Callable[[], bool], wanted: str) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if self.master.poll() is not None:
                raise self.failure(f"ended with code {self.master.returncode} instead of: {wanted}")
            if time.monotonic() > deadline:
                raise self.failure(f"took more than {LIMIT_SECONDS:g} s for: {wanted}")
            time.sleep(0.001)

    def failure(self, what: str) -> BenchmarkError:
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        return BenchmarkError(f"The side {self.name} {what}. The end of its log:\n{tail}")


@contextlib.contextmanager
def serving(
    name: str,
    workers: int,
    settings: dict[str, str] | None = None,
    *,
    app: str = APP,
    request: str = REQUEST,
    files: int = 0,
) -> Iterator[Side]:
    """`settings` are ours; `files` is the most that each process may have open, 0 for no limit."""
    with tempfile.TemporaryDirectory(prefix="against_stock-") as folder:
        side = Side(name, workers, Path(folder), app, request, settings or {})
        side.prefix = ["prlimit", f"--nofile={files}"] if files else []
        side.migrate()
        side.start()
        try:
            side.wait_until(lambda: len(side.workers()) == workers, f"{workers} workers")
            side.wait_until(side.answers, "a first answer")
            yield side
        finally:
            side.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def untouched_environment() -> dict[str, str]:
    """The environment without what would change one side or both."""
    meddling = ("COACHMAN_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY")
    return {key: value for key, value in os.environ.items() if not key.startswith(meddling)}
