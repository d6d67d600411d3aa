"""The packages of a machine, as its own dpkg-query and apt-cache would list them."""

import shutil
import sys
from pathlib import Path

import pytest

from app.catalogue.debian import packages
from app.catalogue.rows import Row

INSTALLED = """\
installed\tapt\t2.6.1\t4232\tcommandline package manager
installed\tlibc6\t2.36\t12988\tGNU C Library
installed\tlibc6\t2.36\t11884\tGNU C Library
config-files\tgone\t1.0\t10\tremoved, not purged
"""
AVAILABLE = f"""\
Package: apt
Version: 2.6.1
Description: commandline package manager

Package: {"x" * 65}
Version: 1
Description: a name too long for a SKU

Package: 0ad
Version: 0.0.26-3
Installed-Size: 28591
Depends: libc6 (>= 2.34)
Tag: game::strategy,
 uitoolkit::sdl
Description: Real-time strategy game

Package: empty
Version: 1:2
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for program, output in (("dpkg-query", INSTALLED), ("apt-cache", AVAILABLE)):
        script = tmp_path / program
        script.write_text(f"#!{sys.executable}\nprint({output!r}, end='')\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def skus(rows: list[Row]) -> list[object]:
    return [row.values["sku"] for row in rows]


def test_installed_packages_come_first_and_each_name_once(machine: Path) -> None:
    rows = list(packages(100))

    assert skus(rows) == ["apt", "libc6", "0ad", "empty"]
    assert rows[2] == Row(
        3,
        {
            "sku": "0ad",
            "name": "0ad 0.0.26-3",
            "description": "Real-time strategy game",
            "unit_price": 28591,
            "quantity": 92,
        },
    )
    assert rows[3].values["description"] is rows[3].values["unit_price"] is None


def test_no_more_packages_are_read_than_asked_for(machine: Path) -> None:
    assert skus(list(packages(3))) == ["apt", "libc6", "0ad"]


def test_machine_without_apt_lists_gives_what_is_installed(machine: Path) -> None:
    (machine / "apt-cache").unlink()

    assert skus(list(packages(100))) == ["apt", "libc6"]


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="this machine is no Debian")
def test_packages_of_this_machine_are_the_same_each_time() -> None:
    assert list(packages(200)) == list(packages(200))
