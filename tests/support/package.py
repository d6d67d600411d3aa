"""Coachman's wheel, and virtual environments of other people's projects that it is installed into."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
INSTALL_SECONDS = 900


def build_wheel(folder: Path) -> Path:
    """Builds the wheel as `make dist` does, and returns it."""
    _uv("build", "--wheel", "--out-dir", str(folder), str(REPOSITORY))
    return next(folder.glob("coachman-*.whl"))


def oldest() -> list[str]:
    """The oldest version of each range in pyproject.toml, as requirements: `uvicorn==0.45`."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in project["dependencies"]]
    return [f"{one[1]}=={one[2]}" for one in found if one]


def environment(
    folder: Path, packages: Sequence[str], constraints: Sequence[str] = (), python: str = sys.executable
) -> Path:
    """A new virtual environment with these packages; the path of its Python."""
    _uv("venv", "--python", python, str(folder))
    limits = folder / "constraints.txt"
    limits.write_text("\n".join(constraints))
    interpreter = folder / "bin" / "python"
    _uv("pip", "install", "--python", str(interpreter), "--constraint", str(limits), *packages)
    return interpreter


def install(python: Path, *packages: str) -> None:
    """Adds packages to an environment, as `pip install` does."""
    _uv("pip", "install", "--python", str(python), *packages)


def installed(python: Path) -> dict[str, str]:
    """The version of each package there."""
    listed = _uv("pip", "freeze", "--python", str(python))
    return dict(line.split("==") for line in listed.splitlines() if "==" in line)


def _uv(*arguments: str) -> str:
    done = subprocess.run(
        [str(UV), "--quiet", *arguments],
        env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, f"uv {' '.join(arguments)}\n{done.stdout}"
    return done.stdout
