"""The power is cut while clients book movements: what was acknowledged is there."""

from pathlib import Path

import pytest

from tests.vm.qemu.stock import Bookings, Stock, stock_on
from tests.vm.qemu.vm import READY, VM, Image
from tests.vm.qemu.writes import flushes, replay

pytestmark = pytest.mark.qemu

MOVEMENTS = 60


def test_every_acknowledged_movement_is_there_after_a_power_cut(installed: Image, tmp_path: Path) -> None:
    with VM(installed, tmp_path, keeps_log=True) as vm:
        vm.wait(READY)
        acknowledged = cut_while_booking(vm)
        assert vm.log is not None
        disk, earlier = tmp_path / "after.img", tmp_path / "earlier.img"
        replay(vm.log, installed.disk, disk)
        replay(vm.log, installed.disk, earlier, count=flushes(vm.log) // 2)

    # Or the check below could not fail: a disk that lacks flushes lacks movements.
    assert acknowledged - set(stock_on(earlier).booked)
    earlier.unlink()
    with VM(Image(installed.boot, disk), tmp_path) as vm:
        vm.wait(READY)
        items = vm.get("/items")["items"]
        vm.run("systemctl stop coachman && sync")
        vm.cut_power()
        found = stock_on(vm.disk)
    disk.unlink()

    assert_whole(found)
    assert acknowledged <= set(found.booked), f"lost: {sorted(acknowledged - set(found.booked))}"
    assert sorted(item["quantity"] for item in items) == sorted(quantity for quantity, _ in found.stock)


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
