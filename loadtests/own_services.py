"""Services of our own: a fresh one, with a fresh database, for each measurement."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loadtests.load import REPOSITORY, Load
from loadtests.services import SHOP, Service, ServiceError, run_coachman

STOP_SECONDS = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OwnService(Service):
    """A Gunicorn of ours, on free ports, in a folder of its own."""

    def __init__(self, folder: Path, workers: int, app: str, **settings: str) -> None:
        address, ops_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        super().__init__(f"http://{address}", f"http://{ops_address}")
        self._log = folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = untouched_environment() | {
            "COACHMAN_APP": app,
            "COACHMAN_BIND": address,
            "COACHMAN_OPS_BIND": ops_address,
            "COACHMAN_RUNTIME_DIR": f"{folder}/run",
            "SHOP_DATABASE_URL": f"sqlite:///{folder}/stock.db",
            "SHOP_KEYS_FILE": f"{folder}/keys",  # none
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
        with self._log.open("wb") as log, _stop_signals_held():
            self._process = subprocess.Popen(
                [gunicorn],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who then end it
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS),
            )

    def stop(self) -> None:
        """Leaves nothing behind, also when we are interrupted."""
        if self._process is None:
            return
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
        if self._process is not None and self._process.poll() is not None:
            raise ServiceError(f"The service ended with code {self._process.returncode}. {self.log()}")

    def log(self) -> str:
        return "The end of its log:\n" + "\n".join(self._log.read_text().splitlines()[-15:])


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


@contextlib.contextmanager
def _running(service: OwnService) -> Iterator[OwnService]:
    try:
        service.start()
        yield service
    finally:
        service.stop()


@contextlib.contextmanager
def _stop_signals_held() -> Iterator[None]:
    """Delays a stop that comes between the fork and the moment when it is known whom to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def untouched_environment() -> dict[str, str]:
    """Returns the environment without what would change the service."""
    meddling = ("COACHMAN_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY")
    return {key: value for key, value in os.environ.items() if not key.startswith(meddling)}
