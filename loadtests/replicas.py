"""A service that an orchestrator scales: replicas behind one address, wherever they run."""

import shlex
import subprocess
import time
import urllib.error
import urllib.request

from loadtests.running_service import ScaledService
from loadtests.services import Service, ServiceError, Slot

COUNT = "{n}"  # in the command: the number of replicas
SCALE_SECONDS = 600.0  # an orchestrator may have to fetch an image first
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.1


class Replicas(Service):
    """Known by their address alone: their processes and ops listeners are in other machines or namespaces."""

    def __init__(self, url: str) -> None:
        super().__init__(url, ops_url="")

    @property
    def master(self) -> int:
        return 0  # no process of this machine: its CPU and memory count as unknown

    def slots(self) -> list[Slot]:
        return []

    def wait_ready(self, workers: int) -> None:
        """Waits for an answer; that `workers` replicas serve, the command that scales them has waited for."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(POLL_SECONDS)
        raise ServiceError(f"{self.url} did not answer within {ANSWER_SECONDS:g} s of scaling to {workers}.")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):  # noqa: S310
                return True
        except urllib.error.HTTPError as error:  # an answer, too: there need be nothing at /
            return error.code < 500
        except (OSError, ValueError):
            return False


class ScaledReplicas(ScaledService):
    """Scales by the orchestrator's own command, which ends once that many replicas serve."""

    def __init__(self, url: str, command: str) -> None:
        super().__init__(Replicas(url))
        self._command = shlex.split(command)
        self._replicas = 0  # not known before the first command

    def scale(self, workers: int) -> None:
        """Raises ServiceError with the last line that the command printed, where it fails."""
        if workers == self._replicas:
            return
        command = [part.replace(COUNT, str(workers)) for part in self._command]
        shown = shlex.join(command)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SCALE_SECONDS, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise ServiceError(f"scale-command `{shown}` cannot be run: {error.strerror}.") from None
        except subprocess.TimeoutExpired:
            raise ServiceError(f"scale-command `{shown}` did not end in {SCALE_SECONDS:g} s.") from None
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise ServiceError(f"scale-command `{shown}` failed: {lines[-1] if lines else done.returncode}")
        self._replicas = workers


def with_count(command: str) -> str:
    """Returns a command as it is. Raises ValueError where it cannot scale."""
    if COUNT not in command:
        raise ValueError(f"it must contain {COUNT}, the number of replicas")
    shlex.split(command)  # raises ValueError, too
    return command
