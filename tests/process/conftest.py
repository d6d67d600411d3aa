from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, running


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Service]:
    """The smallest application with four workers, ready: for what an application has no part in."""
    with running(Service(tmp_path, app="probe", COACHMAN_WORKERS="4")) as service:
        yield service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The shipped application with four workers, ready."""
    service = Service(tmp_path, COACHMAN_WORKERS="4")
    service.migrate()
    with running(service):
        yield service
