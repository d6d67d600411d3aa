"""The service under load, seen from outside."""

import contextlib
import json
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from loadtests.load import REPOSITORY

SHOP, WAITING = "app.main:app", "loadtests.waiting_app:app"
READY_SECONDS = 60.0
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
        """Returns what /readyz answers. Raises ServiceError where nobody does."""
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
        """Runs `coachman` for it and returns what that prints. Raises ServiceError with its sentence."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises ServiceError when it is known to have ended."""

    def log(self) -> str:
        return "Its log says why."


class Target(Protocol):
    """What is measured with one number of workers after the other."""

    def started(
        self, workers: int, app: str, **settings: str
    ) -> contextlib.AbstractContextManager[Service]: ...


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
