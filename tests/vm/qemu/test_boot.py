"""A machine that is switched on serves, without anybody's doing."""

from pathlib import Path

import pytest

from tests.vm.qemu.vm import READY, VM, Image

pytestmark = pytest.mark.qemu


def test_the_service_comes_up_by_itself_after_a_reboot(ready: Image, tmp_path: Path) -> None:
    with VM(ready, tmp_path) as vm:
        vm.wait(READY)
        vm.run("""curl -sf -X POST -H 'Content-Type: application/json' 127.0.0.1:8000/items \
            -d '{"sku": "KEPT", "name": "Kept over the reboot"}'""")
        boot = vm.run("cat /proc/sys/kernel/random/boot_id")

        vm.reboot()

        assert vm.run("cat /proc/sys/kernel/random/boot_id") != boot
        # Nobody connects to the public socket before: the unit is started by the boot, not by a client.
        vm.wait(READY)
        assert vm.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
        assert [item["sku"] for item in vm.get("/items")["items"]] == ["KEPT"]
