"""Prepares a package's own test suite, from its sdist, in an environment of its own, and runs it."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tests.support import volume

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
BUILD = REPOSITORY / "build" / "suites"
LIMIT_SECONDS = 7200
PARTS = 8
OLDER = ["0.164.0", "0.163.2", "0.162.7", "0.161.1", "0.160.0"]  # of FastAPI, which are compiled too


class Outcome(NamedTuple):
    """What a run has come to."""

    passed: int
    failed: frozenset[str]  # names of tests
    requests: Counter[str]  # compiled, left
    routes: Counter[str]  # by the reason why they are not compiled; "" for those that are


class Suite(NamedTuple):
    """The tests of one version."""

    package: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.package} {self.version}"

    @property
    def folder(self) -> Path:
        return BUILD / f"{self.package}-{self.version}"

    @property
    def log(self) -> Path:
        return self.folder / "tests.log"

    def prepare(self) -> None:
        """Unpacks the tests and makes an environment for them, unless they are there."""
        done, wanted = self.folder / "prepared", (HERE / f"{self.package}.txt").read_text()
        if done.exists() and done.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        print(f"Preparing the tests of {self.name} in {self.folder.relative_to(REPOSITORY)}...", flush=True)
        uv, environment = [sys.executable, "-m", "uv"], str(self.folder / "venv")
        call([*uv, "venv", "--quiet", "--python", sys.executable, environment])
        pins = [f"{self.package}=={self.version}"]
        if self.version == locked(self.package):
            pins += [f"{one}=={locked(one)}" for one in ("fastapi", "starlette", "pydantic")]
        requirements = ["-r", str(HERE / f"{self.package}.txt"), *sorted(set(pins))]
        call([*uv, "pip", "install", "--quiet", "--python", environment, *requirements])
        download = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(self.folder)]
        call([sys.executable, "-m", "pip", *download, f"{self.package}=={self.version}"])
        with tarfile.open(self.folder / f"{self.package}-{self.version}.tar.gz") as archive:
            archive.extractall(self.folder, filter="data")
        # Its own package would be imported in the place of the one that is installed.
        (self.folder / f"{self.package}-{self.version}").rename(self.folder / "source")
        (self.folder / "source" / self.package).rename(self.folder / "source" / "package")
        done.write_text(wanted)

    def learn(self) -> None:
        """Adds the fingerprints of what is installed for the suite to those that the compiler knows."""
        self.prepare()
        program = "from coachman.compiler import known; known.write()"
        python = str(self.folder / "venv/bin/python")
        call([python, "-c", program], {"PYTHONPATH": str(REPOSITORY)})
        print(f"The functions of {self.name} are known; see what has changed, and commit it.")

    def run_own(self, tests: list[str]) -> None:
        """Runs Coachman's own tests here, with this version in the place of the one that is installed."""
        overlay = self.folder / "overlay"
        if not overlay.exists():
            install = ["-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(overlay)]
            call([sys.executable, *install, f"{self.package}=={self.version}", "python-multipart"])
        print(f"Coachman's tests with {self.name}:", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(overlay)},
            timeout=LIMIT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"Coachman's tests failed with {self.name}.")

    def part(self) -> list[str]:
        """Returns some of the files of tests: others with each commit, all of them over some commits.

        Without those that give processes of their own 20 seconds, too few beside other work.
        """
        found = sorted((self.folder / "source" / "tests").rglob("test_*.py"))
        files = [path for path in found if "_subprocess import" not in path.read_text()]
        chosen = random.Random(volume.seed()).sample(files, len(files) // PARTS)
        # In order: where a folder's files do not follow one another, pytest gives the later no conftest.
        return sorted(str(path.relative_to(self.folder / "source")) for path in chosen)

    def run(self, tests: list[str], mode: str) -> Outcome:
        """Runs the tests. `mode`: compiled, or stock for the package without the compiler."""
        counts = self.folder / "counts"
        shutil.rmtree(counts, ignore_errors=True)
        counts.mkdir()
        command = [str(self.folder / "venv/bin/python"), "-P", "-m", "pytest", *tests, "-q", "-rfE"]
        command += ["-o", "addopts=", "-p", "no:cacheprovider", "-p", "plugin"]
        command += ["-n", os.environ.get("COACHMAN_SUITE_PROCESSES", "2"), "--dist", "loadgroup"]
        if self.package == "fastapi":
            command += ["-o", "timeout=300"]  # its 20 s are not enough beside other work
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self.folder / "source" / "docs_src"), str(HERE)]),
            "COACHMAN_PACKAGE": str(REPOSITORY / "coachman"),
            "COACHMAN_COUNTS": str(counts),
            "COACHMAN_SUITE": f"{self.package} {mode}",
        }
        environment.pop("CI", None)  # inline-snapshot
        with self.log.open("w") as output:
            subprocess.run(
                command,
                cwd=self.folder / "source",
                env=environment,
                stdout=output,
                stderr=output,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        return self._outcome(counts)

    def _outcome(self, counts: Path) -> Outcome:
        lines = self.log.read_text().rstrip().splitlines()
        print(f"{self.name}: {lines[-1]}", flush=True)
        found = re.search(r"(\d+) passed", lines[-1])
        bad = frozenset(line.split(" ")[1] for line in lines if line.startswith(("FAILED ", "ERROR ")))
        if found is None or " error" in lines[-1]:
            raise SystemExit(f"The tests did not run; {self.log.relative_to(REPOSITORY)} has all of it.")
        requests: Counter[str] = Counter()
        routes: Counter[str] = Counter()
        for path in counts.iterdir():
            one = json.loads(path.read_text())
            requests.update(compiled=one["compiled"], left=one["left"])
            routes.update(one["routes"])
        return Outcome(int(found[1]), bad, requests, routes)


def locked(package: str) -> str:
    """The version of a package in the lock file."""
    found = re.search(rf"^{package}==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert found, f"requirements.txt does not lock {package}"
    return found[1]


def call(command: list[str], environment: Mapping[str, str] = MappingProxyType({})) -> None:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
