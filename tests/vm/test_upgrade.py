"""A machine on which the release before this one was installed: this one takes over, and one can go back."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.release_before import unpack
from tests.support.wheelhouse import fill_by_lock
from tests.vm.machine import INSTALL_SECONDS, Machine
from tests.vm.shop import PAUSE
from tests.vm.test_install import ITEM, releases

SETTINGS = "/etc/coachman/coachman.env"
BEFORE = "/root/before/checkout"


@pytest.fixture(scope="module")
def layers(debian: Callable[[str], Path], home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Its own install.sh has been run, with a setting under a name that is not the present one."""
    work = tmp_path_factory.mktemp("before")
    checkout = work / "checkout"
    checkout.mkdir()
    unpack(checkout)
    wheels = work / "wheels"
    fill_by_lock(wheels, checkout, "3.11")  # it needs packages that the present one has left
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(checkout)]
    subprocess.run([sys.executable, *build], check=True, timeout=INSTALL_SECONDS)
    below = [home, debian("bookworm")]
    with Machine(below, work, "coachman-before") as machine:
        machine.put(checkout, "/root/before")
        machine.put(wheels, "/root/before")
        machine.write(SETTINGS, "COACHMAN_WORKERS=2\nCOACHMAN_THREADS=20\n")
        machine.run(f"{BEFORE}/deploy/install.sh --wheels /root/before/wheels")
        machine.run("test ! -e /opt/coachman/current/durable_database")
        machine.run(f"curl -sSf http://127.0.0.1:8000/items {ITEM}")
    return [work / "disk", *below]


@pytest.fixture
def before(layers: list[Path], tmp_path: Path) -> Iterator[Machine]:
    with Machine(layers, tmp_path, "coachman-upgraded") as machine:
        machine.wait("curl -sf http://127.0.0.1:9100/readyz")
        yield machine


def test_a_newer_coachman_takes_over_under_load_and_the_one_before_takes_over_again(before: Machine) -> None:
    machine = before
    with Load(8000, "/items", clients=4, pause=PAUSE, connect=machine.connect) as load:
        printed = machine.run("/root/checkout/deploy/install.sh --wheels /root/wheels")
        assert "serves: generation 2" in printed, printed
        assert "The service stays sealed, as it was" in printed
        assert machine.show("PrivateNetwork") == "yes"
        machine.run("test -e /opt/coachman/current/durable_database")
        assert "SHOP_THREADS" in machine.journal(), "nobody is told of the new name"

        printed = machine.run("coachman rollback")
        assert "serves: generation 3" in printed, printed
        machine.run("test ! -e /opt/coachman/current/durable_database")
    assert set(load.outcomes) == {"success"}, f"{load.outcomes} {load.failures}\n{machine.journal()}"
    assert "TEA-1" in machine.run("curl -sSf http://127.0.0.1:8000/items")


def test_its_command_makes_a_release_of_a_newer_coachman(before: Machine) -> None:
    printed = before.run("coachman release --wheels /root/wheels /root/checkout")

    assert "serves: generation 2" in printed, printed
    assert "TEA-1" in before.run("curl -sSf http://127.0.0.1:8000/items")
    before.run("systemctl restart coachman")
    assert "TEA-1" in before.run("curl -sSf http://127.0.0.1:8000/items")
    assert releases(before)[-1]["current"]
