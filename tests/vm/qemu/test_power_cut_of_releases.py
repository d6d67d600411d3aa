"""The power is cut right after an installation, and in the middle of a release: the machine serves."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests.vm.qemu.stock import on_disk
from tests.vm.qemu.vm import READY, VM, Image
from tests.vm.qemu.writes import flushes, replay

pytestmark = pytest.mark.qemu

# What makes the emulated processor take minutes, and has no part in this.
UNCOMPILED = "export PIP_NO_COMPILE=1"
INSTALL = f"{UNCOMPILED}; /root/checkout/deploy/install.sh --wheels /root/wheels"
INSTALL_SECONDS = 900
MIDDLES = {
    "Copied": f"{UNCOMPILED}; coachman release /root/checkout --wheels /root/wheels",
    # A rollback switches as a release does, and has no packages to install before.
    "Switched": "coachman rollback",
}
CURRENT = "readlink /opt/coachman/current"

# The units, and of each release that counts as complete what a start reads, have their content.
WHOLE = """
fail() { echo "$1 is empty or not there" >&2; exit 1; }
for unit in coachman.service coachman.socket coachman-ops.socket; do
    test -s "etc/systemd/system/$unit" || fail "$unit"
done
test -s "opt/coachman/$(readlink opt/coachman/current)/release.json" || fail "the current release"
for record in opt/coachman/releases/*/release.json; do
    release=${record%/release.json}
    packages=$release/.venv/lib/python3*/site-packages
    for file in "$record" "$release/gunicorn.conf.py" "$release/coachman/__init__.py" "$release/app/main.py" \
        "$release/.venv/bin/gunicorn" $packages/gunicorn/app/base.py $packages/fastapi/applications.py; do
        test -s "$file" || fail "$file"
    done
done
"""


def test_a_power_cut_right_after_the_installation_leaves_a_machine_that_serves(
    fresh: Image, tmp_path: Path
) -> None:
    with VM(fresh, tmp_path, keeps_log=True) as vm:
        said = vm.run(INSTALL, seconds=INSTALL_SECONDS)
        vm.cut_power()
        disk = what_is_left(vm, fresh, tmp_path)
    assert "The service is there" in said

    assert_serves(fresh, disk, tmp_path)


@pytest.mark.parametrize("step", MIDDLES)
def test_a_power_cut_in_the_middle_of_a_release_leaves_a_machine_that_serves_the_one_before(
    ready: Image, tmp_path: Path, step: str
) -> None:
    with VM(ready, tmp_path, keeps_log=True) as vm:
        vm.wait(READY)
        before = vm.run(CURRENT)
        with vm.begin(MIDDLES[step]) as command:
            wait_for(step, command)
            vm.cut_power()
        assert vm.log is not None
        assert_whole_at_each_flush(vm.log, ready, tmp_path)
        disk = what_is_left(vm, ready, tmp_path)

    assert assert_serves(ready, disk, tmp_path) == before


def wait_for(step: str, command: "subprocess.Popen[str]") -> None:
    """Until the command says it. Ended where it does not, so that the reading ends."""
    assert command.stdout is not None
    limit = threading.Timer(INSTALL_SECONDS, command.kill)
    limit.start()
    try:
        said = []
        for line in command.stdout:
            said.append(line)
            if step in line:
                return
    finally:
        limit.cancel()
    pytest.fail(f"it has not said {step!r}, but:\n{''.join(said)}")


def what_is_left(vm: VM, before: Image, work: Path) -> Path:
    assert vm.log is not None
    disk = work / "after.img"
    replay(vm.log, before.disk, disk)
    return disk


def assert_whole_at_each_flush(log: Path, before: Image, work: Path, looks: int = 8) -> None:
    """The cut could have come earlier: at some of the flushes, the last ones among them."""
    total, disk = flushes(log), work / "earlier.img"
    counts = {total - back for back in range(4)} | set(range(1, total, max(1, total // (looks - 4))))
    for count in sorted(count for count in counts if count > 0):
        replay(log, before.disk, disk, count=count)
        on_disk(disk, WHOLE)
    disk.unlink()


def assert_serves(image: Image, disk: Path, work: Path) -> str:
    """Returns which release does."""
    with VM(Image(image.boot, disk), work) as vm:
        vm.wait(READY)
        assert vm.get("/items") == {"items": [], "next_cursor": None}
        assert vm.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
        assert "current" in vm.run("coachman releases")
        current = vm.run(CURRENT)
    disk.unlink()
    return current
