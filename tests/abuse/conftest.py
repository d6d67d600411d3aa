from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import Service, running

APPS = str(Path(__file__).parent / "apps")
DEADLINE = 2  # seconds, for all that a client may delay


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with short deadlines, so that all that is done is done to the same process."""
    service = Service(
        tmp_path_factory.mktemp("target"),
        COACHMAN_APP="target:app",
        COACHMAN_WORKERS="1",
        COACHMAN_HEAD_SECONDS=str(DEADLINE),
        COACHMAN_BODY_SECONDS=str(DEADLINE),
        COACHMAN_ANSWER_SECONDS=str(DEADLINE),
        COACHMAN_BODY_BYTES_BELOW="/uploads/=8388608",
        PYTHONPATH=APPS,
    )
    with running(service):
        pids = service.worker_pids()
        yield service
        assert service.worker_pids() == pids, f"a worker was lost\n{service.log()}"
        assert "Traceback" not in service.log(), service.log()
