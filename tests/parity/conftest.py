"""The same application behind a Gunicorn master, as on a VM, and in one process, as in a pod."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, running


class Alone(Service):
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "coachman", "serve"]


Start = Callable[..., Service]
WAYS: dict[str, type[Service]] = {"master": Service, "alone": Alone}


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """A service that is not started yet; with one worker where there is a master."""

    def make_service(**settings: str) -> Service:
        service = WAYS[request.param](
            tmp_path, **{"COACHMAN_WORKERS": "1", "COACHMAN_LOG_FORMAT": "json", **settings}
        )
        service.migrate()
        return service

    return make_service


@pytest.fixture(params=WAYS)
def service(request: pytest.FixtureRequest, both: list[Service]) -> Service:
    """One of the two that run, for what leaves no trace."""
    return both[list(WAYS).index(request.param)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Side by side, to be compared. Who ends one of them starts it again."""
    services = []
    for name, way in WAYS.items():
        services.append(
            way(
                tmp_path_factory.mktemp(name),
                COACHMAN_WORKERS="1",
                COACHMAN_LOG_FORMAT="json",
                COACHMAN_ACCESS_LOG="on",
            )
        )
    for service in services:
        service.migrate()
    with running(services[0]), running(services[1]):
        yield services
