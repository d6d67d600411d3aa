"""What several folders of tests use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgresql
from tests.support.browser import Page, browser
from tests.support.volume import SOAK, seed


def pytest_configure() -> None:
    """Lets commands of the tests end by Ctrl-C, also where the shell has run the tests in the background.

    It ignores SIGINT then, and so would each process that is started here.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    volumes = "in full" if SOAK else "in part: `make soak` runs them in full"
    return f"volumes: {volumes}; TESTS_SEED={seed()}"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    programs = postgresql.find_programs()
    if programs is None:
        if "CI" in os.environ:
            pytest.fail("no PostgreSQL server is installed, and CI is set")
        pytest.skip("no PostgreSQL server is installed")
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A browser whose console has nothing to complain of in the end."""
    with browser(tmp_path) as page:
        page.resize(1280, 900)
        yield page
        assert not page.complaints, page.complaints
