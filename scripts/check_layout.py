#!/usr/bin/env python3
"""Checks how the packages are laid out: no circle of imports, no file that is too long or in the wrong place.

Usage: scripts/check_layout.py

Run by `make check`, beside import-linter, whose layers allow circles inside a folder. Imports under
TYPE_CHECKING and inside functions count: they are dependencies, however Python gets round them.
Exit: 0 all is well, 1 each fault is a line on standard error.
"""

import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = [name for name in ("app", "coachman", "durable_database", "loadtests") if (ROOT / name).is_dir()]
MOST_LINES = 250  # of a file of coachman/
FRONT_DOORS = {
    "__init__.py",
    "__main__.py",
    "asgi.py",
    "gunicorn_app.py",
    "gunicorn_config.py",
    "hooks.py",
    "settings.py",
    "standalone.py",
    "worker.py",
}


def main() -> int:
    """Prints the faults and returns the exit code."""
    faults = [*circles(imports()), *long_files(ROOT / "coachman"), *files_without_a_folder(ROOT / "coachman")]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def imports() -> dict[str, set[str]]:
    """Which modules each module of the packages imports."""
    sys.path.insert(0, str(ROOT))  # where grimp looks for them
    graph = grimp.build_graph(*PACKAGES)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(graph: dict[str, set[str]]) -> Iterator[str]:
    """One circle for each group of modules that reach each other; mended one by one, none is left."""
    rest = dict(graph)
    while True:
        try:
            TopologicalSorter(rest).prepare()
            return
        except CycleError as error:
            circle: list[str] = error.args[1]
        # graphlib lists each module before the one that it is imported by.
        yield f"A circle of imports: {' -> '.join(reversed(circle))}"
        rest[circle[1]] = rest[circle[1]] - {circle[0]}


def long_files(folder: Path) -> Iterator[str]:
    """Files of Python with more than MOST_LINES lines."""
    for path in sorted(folder.rglob("*.py")):
        if (lines := len(path.read_text().splitlines())) > MOST_LINES:
            yield f"{path.relative_to(folder.parent)} has {lines} lines: split it, {MOST_LINES} are the most"


def files_without_a_folder(folder: Path, allowed: Iterable[str] = FRONT_DOORS) -> Iterator[str]:
    """Files at the root of the package that are not the way into a process, and not read by all."""
    for path in sorted(folder.glob("*.py")):
        if path.name not in allowed:
            yield f"{path.relative_to(folder.parent)} is no front door: put it into one of the folders"


if __name__ == "__main__":
    sys.exit(main())
