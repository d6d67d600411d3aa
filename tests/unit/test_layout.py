"""What `make check` holds the packages to, and that the operator's command stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_layout

ROOT = Path(__file__).parents[2]
SERVERS = ("uvicorn", "gunicorn", "prometheus_client", "httptools")


@pytest.mark.parametrize("arguments", [["status"], ["check", "--help"], ["--help"], ["handover", "--help"]])
def test_the_operators_command_starts_without_the_servers(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['coachman', *{arguments!r}]\n"
        "try: runpy.run_module('coachman', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print(*sorted(set({SERVERS!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"COACHMAN_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr.splitlines()[-1] == "", done.stderr


def test_a_circle_of_imports_is_found_and_named() -> None:
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set()}

    assert list(check_layout.circles(graph)) == ["A circle of imports: a -> b -> c -> a"]
    assert list(check_layout.circles(graph | {"c": {"d"}})) == []


def test_each_of_two_circles_is_named() -> None:
    assert len(list(check_layout.circles({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}))) == 2


def test_imports_for_types_alone_and_inside_functions_count() -> None:
    graph = check_layout.imports()

    assert "coachman.standalone" in graph["coachman.__main__"]  # inside a function


def test_a_long_file_and_a_file_without_a_folder_are_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "settings.py").write_text("\n" * 250)
    (package / "stray.py").write_text("")
    (package / "inner" / "long.py").write_text("\n" * 251)

    assert list(check_layout.long_files(package)) == [
        "package/inner/long.py has 251 lines: split it, 250 are the most"
    ]
    assert list(check_layout.files_without_a_folder(package)) == [
        "package/stray.py is no front door: put it into one of the folders"
    ]
