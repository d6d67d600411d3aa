"""Other projects' own tests, against what takes the place of their classes here: `make test-peers`.

A new difference fails, and so does one that is no more.
"""

import os
import re
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import version
from pathlib import Path

from tests.peers.suites import SUITES, Suite

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FOLDER = REPOSITORY / "build" / "peers"
LIMIT_SECONDS = 600
BUILD_PACKAGES = (
    "hatchling",
    "setuptools>=70.1",
)  # what makes their sdists; the venv brings one without wheels


def main() -> None:
    problems = [problem for suite in SUITES if (problem := problem_of(suite, sources_of(suite.package)))]
    if problems:
        raise SystemExit("\n".join(problems))


def sources_of(package: str) -> Path:
    """The sources of the version that is installed, without the package itself."""
    name = f"{package}-{version(package)}"
    sources = FOLDER / name
    if not sources.exists():
        pip = [str(FOLDER / "venv/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        if not (FOLDER / "venv").exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            venv.create(FOLDER / "venv", with_pip=True)
            call([*pip, "install", *BUILD_PACKAGES])
        options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", str(FOLDER)]
        call([*pip, "download", *options, f"{package}=={version(package)}"])
        with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
            archive.extractall(FOLDER, filter="data")
        # Would be imported in the place of the one that is installed.
        (sources / package).rename(sources / "package")
        (sources / "tests/__init__.py").touch()  # their tests import each other
    return sources


def call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stderr}")


def problem_of(suite: Suite, sources: Path) -> str:
    """Runs the tests and prints their differences. Returns what is not as it should be; nothing mostly."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", suite.plugin, "-q", "-rf"]
    command += ["-p", "no:cacheprovider", *suite.options, suite.tests]
    environment = os.environ | suite.environment | {"PYTHONPATH": f"{HERE}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run(
        command, cwd=sources, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    failed = set(re.findall(rf"^FAILED {re.escape(suite.tests)}::test_(\S+)", done.stdout, re.MULTILINE))
    print(f"{suite.package} {version(suite.package)}, {suite.tests}: {done.stdout.splitlines()[-1]}")
    for test in sorted(failed & set(suite.differences)):
        print(f"  {test}: {suite.differences[test]}")
    if done.returncode in (0, 1) and "passed" in done.stdout and failed == set(suite.differences):
        return ""
    print(done.stdout[-20_000:], done.stderr[-2_000:])
    new, gone = sorted(failed - set(suite.differences)), sorted(set(suite.differences) - failed)
    return f"{suite.package}, {suite.tests}: new differences: {new}; differences that are no more: {gone}"


if __name__ == "__main__":
    main()
