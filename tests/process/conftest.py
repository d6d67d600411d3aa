from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import Service, running

APPS = str(Path(__file__).parent / "apps")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The shipped application with four workers, ready."""
    service = Service(tmp_path, COACHMAN_WORKERS="4")
    service.migrate()
    with running(service):
        yield service
