"""The service under load: one of our own for each measurement, or one that runs already."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from loadtests.load import REPOSITORY, Load

SHOP, WAITING = "app.main:app", "loadtests.waiting_app:app"
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 180.0
LOOK_SECONDS = 0.02


class ServiceError(Exception):
    """Why there is no service to measure, in one sentence."""


class Slot(NamedTuple):
    pid: int
    state: str
    requests: int


class Service:
    """One that serves, seen through its ops listener."""

    def __init__(self, url: str, ops_url: str) -> None:
        self.url, self._ops_url = url, ops_url

    def report(self) -> dict[str, Any]:
        """What /readyz says. Raises ServiceError where nobody answers."""
        try:
            with urllib.request.urlopen(f"{self._ops_url}/readyz", timeout=10) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:  # 503: it is there, and says that it does not serve in full
            found = json.load(error)
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"{self._ops_url}/readyz does not answer ({error}): start it, or name its ops address."
            ) from None
        return found

    @property
    def master(self) -> int:
        return int(self.report()["master"])

    def slots(self) -> list[Slot]:
        return [Slot(slot["pid"], slot["state"], slot["requests"]) for slot in self.report()["slots"]]

    def wait_ready(self, workers: int) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ServiceError):
                report = self.report()
                if report["status"] == "ready" and report["ready"] == workers == len(report["slots"]):
                    return
            self.check()
            time.sleep(LOOK_SECONDS)
        raise ServiceError(f"{workers} workers did not serve within {READY_SECONDS:g} s. {self.log()}")

    def command(self, *arguments: str) -> str:
        """What `coachman` prints for it. Raises ServiceError with its sentence when it fails."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises ServiceError when it is known to have ended."""

    def log(self) -> str:
        return "Its log says why."


class OwnService(Service):
    """A Gunicorn of ours, on free ports, in a folder of its own."""

    def __init__(self, folder: Path, workers: int, app: str, **settings: str) -> None:
        address, ops_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        super().__init__(f"http://{address}", f"http://{ops_address}")
        self._log = folder / "service.log"
        self.environment = untouched_environment() | {
            "COACHMAN_APP": app,
            "COACHMAN_BIND": address,
            "COACHMAN_OPS_BIND": ops_address,
            "COACHMAN_RUNTIME_DIR": f"{folder}/run",
            "COACHMAN_DATABASE_URL": f"sqlite:///{folder}/stock.db",
            "COACHMAN_WORKERS": str(workers),
            **settings,
        }

    def start(self) -> None:
        gunicorn = Path(sys.executable).with_name("gunicorn")
        if not gunicorn.exists():
            raise ServiceError(
                f"There is no Gunicorn beside {sys.executable}: measure a service that runs, with --attach, "
                "or run this with the repository's own environment (make compare)."
            )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [gunicorn],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who then end it
            )

    def stop(self) -> None:
        """Leaves nothing behind, also when we are interrupted."""
        try:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def command(self, *arguments: str) -> str:
        return run_coachman([sys.executable, "-m", "coachman"], arguments, self.environment)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise ServiceError(f"The service ended with code {self._process.returncode}. {self.log()}")

    def log(self) -> str:
        return "The end of its log:\n" + "\n".join(self._log.read_text().splitlines()[-15:])


class Target(Protocol):
    """What is measured with one number of workers after the other."""

    def started(
        self, workers: int, app: str, **settings: str
    ) -> contextlib.AbstractContextManager[Service]: ...


class FreshServices:
    """Each measurement has a service, and a database, of its own: written pages slow later ones down."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template"
        self._template.mkdir()
        self._stock()

    @contextlib.contextmanager
    def started(self, workers: int, app: str, **settings: str) -> Iterator[Service]:
        with tempfile.TemporaryDirectory(prefix="loadtests-service-") as name:
            folder = Path(name)
            for file in self._template.glob("stock.db*"):
                shutil.copy(file, folder)
            with _running(OwnService(folder, workers, app, **settings)) as service:
                yield service

    def _stock(self) -> None:
        service = OwnService(self._template, 1, SHOP)
        migrated = subprocess.run(
            [sys.executable, "-m", "app", "migrate"],
            cwd=REPOSITORY,
            env=service.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if migrated.returncode:
            raise ServiceError(f"`python -m app migrate` failed: {migrated.stderr.strip()}")
        with _running(service):
            service.wait_ready(1)
            with Load("reader", service.url, users=1) as load:  # the first of them makes the items
                load.begin()
                load.end()


class AttachedService(Service):
    def __init__(self, url: str, ops_url: str, coachman: list[str]) -> None:
        super().__init__(url, ops_url)
        self._coachman = coachman

    def command(self, *arguments: str) -> str:
        return run_coachman(self._coachman, arguments, dict(os.environ))


class RunningService:
    """One that runs already, under systemd or not: scaled by its own command, and put back in the end."""

    def __init__(self, url: str, ops_url: str, coachman: str) -> None:
        self._service = AttachedService(url, ops_url, shlex.split(coachman))
        self._workers = int(self._service.report()["workers"])

    @contextlib.contextmanager
    def started(self, workers: int, app: str, **settings: str) -> Iterator[Service]:
        if app != SHOP:
            raise ServiceError("The waiting profiles need an application of their own: leave --attach out.")
        self.scale(workers)
        yield self._service

    def put_back(self) -> None:
        self.scale(self._workers)

    def scale(self, workers: int) -> None:
        if int(self._service.report()["workers"]) == workers:
            return
        self._service.command("scale", str(workers))


def run_coachman(command: list[str], arguments: Sequence[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError:
        raise ServiceError(f"{command[0]} is not there: name the service's own by --coachman.") from None
    if done.returncode:
        raise ServiceError(f"`coachman {shlex.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def _running(service: OwnService) -> Iterator[OwnService]:
    service.start()
    try:
        yield service
    finally:
        service.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def untouched_environment() -> dict[str, str]:
    """The environment without what would change the service."""
    meddling = ("COACHMAN_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY")
    return {key: value for key, value in os.environ.items() if not key.startswith(meddling)}
