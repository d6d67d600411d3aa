"""What several folders of tests use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgresql
from tests.support.browser import Page, browser
from tests.support.volume import SOAK, seed


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
