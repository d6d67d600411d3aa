"""The session of the installed wheel on each Python that is supported and is on this machine."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.test_installed import MAIN, have_a_session
from tests.support import package
from tests.support.foreground import Installed
from tests.support.service import running

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(params=VERSIONS)
def service(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    interpreter = _interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"there is no python{request.param} here")
    python = package.environment(tmp_path / "venv", ["fastapi", str(wheel)], python=interpreter)
    service = Installed(tmp_path, python)
    service.write("main.py", MAIN)
    with running(service):
        yield service


def test_a_session_on_each_python(service: Installed) -> None:
    have_a_session(service)


def _interpreter(version: str) -> str | None:
    """On the path, or pyenv's. A shim of pyenv's is there also where its version is not."""
    found = [shutil.which(f"python{version}"), *_of_pyenv(version)]
    return next((one for one in found if one and _is_version(one, version)), None)


def _of_pyenv(version: str) -> list[str]:
    folder = Path.home() / ".pyenv" / "versions"
    return sorted(str(path) for path in folder.glob(f"{version}.*/bin/python"))


def _is_version(interpreter: str, version: str) -> bool:
    done = subprocess.run([interpreter, "--version"], capture_output=True, text=True, timeout=30)
    return done.returncode == 0 and f"Python {version}." in done.stdout
