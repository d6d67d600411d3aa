"""A service that runs already, under systemd or not."""

import contextlib
import os
import shlex
from collections.abc import Iterator

from loadtests.services import SHOP, Service, ServiceError, run_coachman


class AttachedService(Service):
    def __init__(self, url: str, ops_url: str, coachman: list[str]) -> None:
        super().__init__(url, ops_url)
        self._coachman = coachman

    def command(self, *arguments: str) -> str:
        return run_coachman(self._coachman, arguments, dict(os.environ))


class ScaledService:
    """One that runs already, and is scaled for each measurement."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @contextlib.contextmanager
    def started(self, workers: int, app: str, **settings: str) -> Iterator[Service]:
        if app != SHOP:
            raise ServiceError("The waiting profiles need an application of their own: leave --attach out.")
        self.scale(workers)
        yield self._service

    def scale(self, workers: int) -> None:
        raise NotImplementedError


class RunningService(ScaledService):
    """Scaled by its own command, and put back in the end."""

    def __init__(self, url: str, ops_url: str, coachman: str) -> None:
        super().__init__(AttachedService(url, ops_url, shlex.split(coachman)))
        self._workers = int(self._service.report()["workers"])

    def put_back(self) -> None:
        self.scale(self._workers)

    def scale(self, workers: int) -> None:
        if int(self._service.report()["workers"]) == workers:
            return
        self._service.command("scale", str(workers))
