"""The site of the docs builds offline without a warning: each link, and each heading of one, exists."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("sphinx") is None:
        if "CI" in os.environ:
            pytest.fail("Sphinx is not installed, and CI is set")
        pytest.skip("Sphinx is not installed: make environment")
    return build(ROOT, tmp_path_factory.mktemp("site"))


def build(source: Path, target: Path) -> Path:
    """As `make docs` does, from the same options."""
    options = re.search(r"-m sphinx (.*) -c docs/site", (ROOT / "Makefile").read_text())
    assert options is not None
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options[1].split(), "-c", ROOT / "docs" / "site", source, target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_each_document_is_a_page_of_the_site(site: Path) -> None:
    for document in DOCUMENTS:
        assert (site / document.relative_to(ROOT).with_suffix(".html")).exists(), document


def test_the_site_begins_with_the_readme_and_needs_nothing_from_elsewhere(site: Path) -> None:
    page = (site / "index.html").read_text()

    assert "<h1>Coachman<" in page
    assert 'href="docs/deploy.html"' in page
    assert not re.findall(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//', page)
    assert not re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//', page)


def test_words_of_the_docs_can_be_searched_for(site: Path) -> None:
    assert "probat" in (site / "searchindex.js").read_text()  # the stem of probation


def test_a_broken_link_ends_the_build(site: Path, tmp_path: Path) -> None:
    for document in DOCUMENTS:
        copy = tmp_path / "source" / document.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(document.read_text())
    with (tmp_path / "source" / "SECURITY.md").open("a") as file:
        file.write("\n[away](docs/settings.md#no-such-heading)\n")

    with pytest.raises(AssertionError, match="no-such-heading"):
        build(tmp_path / "source", tmp_path / "site")
