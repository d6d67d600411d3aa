from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import package
from tests.support.once import once
from tests.support.service import Service, running


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Service]:
    """The smallest application with four workers, ready: for what an application has no part in."""
    with running(Service(tmp_path, app="probe", COACHMAN_WORKERS="4")) as service:
        yield service


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(once(tmp_path_factory, "wheel", package.build_wheel).glob("*.whl"))
