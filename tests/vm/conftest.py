"""What the machines start from. Debian is unpacked once and kept; Coachman is installed once a run.

Also where two processes run the tests: they share what is never written to, and have a machine each.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import wheelhouse
from tests.support.isolation import ALONE
from tests.support.once import once
from tests.vm.machine import Machine

REPOSITORY = Path(__file__).parents[2]
RECIPE = Path(__file__).with_name("build_root.sh")
CACHE = wheelhouse.CACHE
TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter", "unshare", "setpriv")
PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13
MachineOf = Callable[[str], Machine]


def need(*, met: bool, sentence: str) -> None:
    """Skips where the machines cannot run; in CI that is a failure."""
    if met:
        return
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session", autouse=True)
def _machines_can_run() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    need(met=os.geteuid() == 0, sentence="Machines need root.")
    need(
        met=not missing,
        sentence=f"Machines need {', '.join(missing)}: install systemd-container, mmdebstrap.",
    )


@pytest.fixture(scope="session")
def debian() -> Callable[[str], Path]:
    """The root file system of a suite. Never written to."""

    def debian(suite: str) -> Path:
        key = hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]
        root = CACHE / f"{suite}-{key}"
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():
                draft = CACHE / f"{suite}.draft"
                shutil.rmtree(draft, ignore_errors=True)
                _run(*ALONE, RECIPE, suite, draft)
                draft.rename(root)
        return root

    return debian


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coachman as it is now, and every package that it and the application need."""

    def make(folder: Path) -> None:
        wheelhouse.fill(folder / "wheels", *PYTHONS)

    return once(tmp_path_factory, "wheelhouse", make) / "wheels"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of this repository, without its tests."""

    def make(folder: Path) -> None:
        for name in ("app", "coachman", "deploy", "docs", "durable_database", "scripts", "systemd"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("gunicorn.conf.py", "requirements.txt", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(REPOSITORY / name, folder / name)

    return once(tmp_path_factory, "checkout", make)


@pytest.fixture(scope="session")
def home(checkout: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer that has a checkout and the wheels in /root."""

    def make(folder: Path) -> None:
        shutil.copytree(checkout, folder / "root" / "checkout")
        shutil.copytree(wheels, folder / "root" / "wheels")
        (folder / "root").chmod(0o700)

    return once(tmp_path_factory, "home", make)


@pytest.fixture(scope="session")
def fresh_machine(
    debian: Callable[[str], Path], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> MachineOf:
    """A Debian of that suite without a network, with a checkout and the wheels in /root; not started."""

    def fresh_machine(suite: str) -> Machine:
        return Machine([home, debian(suite)], tmp_path_factory.mktemp(suite), f"coachman-{suite}")

    return fresh_machine


@pytest.fixture(scope="session")
def installed(
    debian: Callable[[str], Path], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """The layers of a Debian 12 on which install.sh has been run, and which was shut down."""

    def make(folder: Path) -> None:
        with Machine([home, debian("bookworm")], folder, "coachman-installed") as machine:
            machine.run("/root/checkout/deploy/install.sh --wheels /root/wheels")

    return [once(tmp_path_factory, "installed", make) / "disk", home, debian("bookworm")]


@pytest.fixture(scope="module")
def machine(installed: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for all tests of a module, each of which leaves it as it was."""
    with Machine(installed, tmp_path_factory.mktemp("machine"), "coachman-shared") as machine:
        machine.wait("curl -sf http://127.0.0.1:9100/readyz")
        yield machine


def _run(*command: Path | str) -> None:
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800
    )
    assert done.returncode == 0, f"{command[0]}: exit code {done.returncode}\n{done.stdout[-3000:]}"
