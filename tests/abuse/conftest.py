import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, running

DEADLINE = 2  # seconds, for all that a client may delay


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with short deadlines, so that all that is done is done to the same process."""
    with attacked(tmp_path_factory.mktemp("target"), DEADLINE) as service:
        yield service


@contextlib.contextmanager
def attacked(folder: Path, deadline: int) -> Iterator[Service]:
    service = Service(
        folder,
        app="target",
        COACHMAN_WORKERS="1",
        COACHMAN_HEAD_SECONDS=str(deadline),
        COACHMAN_BODY_SECONDS=str(deadline),
        COACHMAN_ANSWER_SECONDS=str(deadline),
        COACHMAN_BODY_BYTES="1048576",
        COACHMAN_BODY_BYTES_BELOW="/uploads/=8388608",
    )
    with running(service):
        pids = service.worker_pids()
        yield service
        assert service.worker_pids() == pids, f"a worker was lost\n{service.log()}"
        assert "Traceback" not in service.log(), service.log()
