"""Each request of the table against a worker, on both event loops, in three ways of sending it."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, DIFFERENCES
from tests.conformance.conversation import Manner, failures
from tests.support.service import Service, running

APPS = str(Path(__file__).parent / "apps")
BODY_SECONDS = 2
DELIBERATE = "an error of the application, for a test"


@contextlib.contextmanager
def serving_echo(folder: Path, loop: str, **settings: str) -> Iterator[Service]:
    """One worker, which must be the same at the end, and have nothing to report but what was asked for."""
    service = Service(
        folder,
        COACHMAN_APP="echo:app",
        COACHMAN_WORKERS="1",
        COACHMAN_LOOP=loop,
        PYTHONPATH=APPS,
        **{"COACHMAN_BODY_SECONDS": str(BODY_SECONDS)} | settings,
    )
    with running(service):
        pids = service.worker_pids()
        yield service
        assert service.worker_pids() == pids, f"a worker was lost\n{service.log()}"
        log = service.log()
        assert log.count("Traceback") == log.count(f"RuntimeError: {DELIBERATE}"), log


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def echo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # No request of the table is about time: a client that a busy machine holds up is not to be late.
    folder = tmp_path_factory.mktemp(request.param)
    with serving_echo(folder, request.param, COACHMAN_BODY_SECONDS="60") as service:
        yield service


@pytest.mark.parametrize("manner", Manner)
def test_each_request_is_answered_as_the_rfc_says(echo: Service, manner: Manner) -> None:
    wrong = asyncio.run(failures(echo.port, [*CASES, *DIFFERENCES], manner))

    assert not wrong, "\n".join(f"{name}\n    {what}" for name, what in wrong.items())
