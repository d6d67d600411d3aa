"""The power is cut while clients book movements: what was acknowledged is there."""

from pathlib import Path

import pytest

from tests.vm.qemu.stock import Bookings, Stock, stock_on
from tests.vm.qemu.vm import READY, VM, Image
from tests.vm.qemu.writes import flushes, replay

pytestmark = pytest.mark.qemu

MOVEMENTS = 60
SQLITE = "/opt/coachman/current/durable_database/sqlite.py"
NEGLIGENT = {
    "file system": "mount -o remount,barrier=0 /",
    "database": f"sed -i s/synchronous=FULL/synchronous=NORMAL/ {SQLITE} && systemctl restart coachman",
}


def test_every_acknowledged_movement_is_there_after_a_power_cut(ready: Image, tmp_path: Path) -> None:
    with VM(ready, tmp_path, keeps_log=True) as vm:
        vm.wait(READY)
        acknowledged = cut_while_booking(vm)
        assert vm.log is not None
        disk, earlier = tmp_path / "after.img", tmp_path / "earlier.img"
        replay(vm.log, ready.disk, disk)
        replay(vm.log, ready.disk, earlier, count=flushes(vm.log) // 2)

    # Or the check below could not fail: a disk that lacks flushes lacks movements.
    assert acknowledged - set(stock_on(earlier).booked)
    earlier.unlink()
    with VM(Image(ready.boot, disk), tmp_path) as vm:
        vm.wait(READY)
        items = vm.get("/items")["items"]
        vm.run("systemctl stop coachman && sync")
        vm.cut_power()
        found = stock_on(vm.disk)
    disk.unlink()

    assert_whole(found)
    assert acknowledged <= set(found.booked), f"lost: {sorted(acknowledged - set(found.booked))}"
    assert sorted(item["quantity"] for item in items) == sorted(quantity for quantity, _ in found.stock)


@pytest.mark.negligence
@pytest.mark.parametrize("negligence", NEGLIGENT)
def test_what_does_not_wait_for_the_disk_loses_movements(
    ready: Image, tmp_path: Path, negligence: str
) -> None:
    """Or the test above would see no loss where there is one."""
    with VM(ready, tmp_path, keeps_log=True) as vm:
        vm.wait(READY)
        vm.run(NEGLIGENT[negligence])
        vm.wait(READY)
        acknowledged = cut_while_booking(vm)
        assert vm.log is not None
        disk = tmp_path / "after.img"
        replay(vm.log, ready.disk, disk)
        ended = stock_on(vm.disk)
    found = stock_on(disk)
    disk.unlink()

    lost = acknowledged - set(found.booked)
    assert lost, f"all {len(acknowledged)} are there"
    if negligence == "file system":
        # QEMU's end alone loses nothing that the kernel has written, flushed or not: hence the log.
        assert acknowledged <= set(ended.booked)


def cut_while_booking(vm: VM) -> set[str]:
    """The keys of what was acknowledged."""
    bookings = Bookings(vm.forward(8000))
    bookings.begin()
    try:
        bookings.wait(MOVEMENTS)
    finally:
        vm.cut_power()
        bookings.end()
    return bookings.acknowledged


def assert_whole(found: Stock) -> None:
    assert found.integrity == "ok"
    assert len(found.booked) == len(set(found.booked)), "a movement was booked twice"
    assert all(quantity == total for quantity, total in found.stock), found.stock
