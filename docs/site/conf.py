"""The site of these docs: `make docs`. Its source is the repository, so that links are the same in both."""

from pathlib import Path

from sphinx.application import Sphinx

import coachman

project = "Coachman"
author = copyright = "The Coachman developers"
version = release = coachman.__version__

extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "SECURITY.md", "docs/*.md", "systemd/README.md"]
# Folders that are not even entered.
exclude_patterns = [".*", "app", "benchmarks", "build", "coachman", "dist", "loadtests", "tests", "var"]
myst_heading_anchors = 3  # as on GitHub: links to a heading are checked, too

html_theme = "furo"
html_title = f"Coachman {release}"
html_copy_source = False
html_show_sphinx = False

_CONTENTS = """
```{toctree}
:hidden:
:caption: Start and deploy
docs/migrating
docs/deploy
docs/settings
docs/glossary
```
```{toctree}
:hidden:
:caption: Understand and operate
docs/supervision
docs/timeouts
docs/operations
docs/security
systemd/README
SECURITY
```
```{toctree}
:hidden:
:caption: Measure
docs/load-testing
docs/benchmarks
docs/compiler
docs/applications
```
```{toctree}
:hidden:
:caption: Data and larger set-ups
docs/database
docs/postgresql
docs/catalogue
docs/beyond-one-vm
```
```{toctree}
:hidden:
:caption: Work on Coachman
docs/development
```
"""


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Gives the README the table of contents, which GitHub would show as text."""
    if docname == root_doc:
        source[0] += _CONTENTS


def make_index(app: Sphinx, error: Exception | None) -> None:
    """Makes the README the page that opens for the folder."""
    if error is None:
        page = Path(app.outdir, f"{root_doc}.html")
        page.with_name("index.html").write_text(page.read_text())


def setup(app: Sphinx) -> None:
    """Registers the two, as Sphinx asks each configuration to."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", make_index)
