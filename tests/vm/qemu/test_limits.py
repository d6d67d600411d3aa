"""The limits of the units and of the drop-ins, on a kernel that enforces them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.qemu.vm import READY, VM, Image

pytestmark = pytest.mark.qemu

HUNGRY = Path(__file__).with_name("hungry.py").read_text()
DROP_INS = "/etc/systemd/system/coachman.service.d"
SHIPPED = "/opt/coachman/current/systemd/drop-ins"
GIGABYTE = 1 << 30
WORKERS = "cat /proc/$(systemctl show --value -p MainPID coachman.service)/task/*/children"


@pytest.fixture(scope="module")
def hungry_machine(installed: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VM]:
    """With more memory than the service may have."""
    with VM(installed, tmp_path_factory.mktemp("limits"), megabytes=2048) as vm:
        vm.write("/opt/coachman/current/hungry.py", HUNGRY)
        vm.write("/etc/coachman/coachman.env", "COACHMAN_APP=hungry:app\nWEB_CONCURRENCY=2\n")
        yield vm


@pytest.fixture
def vm(hungry_machine: VM) -> Iterator[VM]:
    yield hungry_machine
    hungry_machine.run(f"rm -f {DROP_INS}/memory.conf {DROP_INS}/postgres-tcp.conf {DROP_INS}/test.conf")


def restart(vm: VM) -> None:
    vm.run("systemctl daemon-reload && systemctl restart coachman")


def test_a_worker_that_exceeds_the_memory_dies_alone(vm: VM) -> None:
    vm.run(f"cp {SHIPPED}/memory.conf {DROP_INS}/")
    restart(vm)
    assert vm.show("MemoryMax", "OOMPolicy") == {"MemoryMax": str(GIGABYTE), "OOMPolicy": "continue"}
    unit, workers = identity(vm), pids(vm)

    assert vm.get("/memory?megabytes=2000", code=None) is None, "it was given all that it asked for"

    after = replaced(vm, workers)
    assert identity(vm) == unit, vm.journal()
    assert len(workers & after) == 1, f"{workers}, then {after}: not one was replaced\n{vm.journal()}"
    assert vm.get("/pid") in after


@pytest.mark.negligence
def test_by_the_default_of_systemd_the_whole_unit_would_go(vm: VM) -> None:
    vm.run(f"cp {SHIPPED}/memory.conf {DROP_INS}/")
    vm.write(f"{DROP_INS}/test.conf", "[Service]\nOOMPolicy=stop\n")
    restart(vm)
    unit, workers = identity(vm), pids(vm)

    assert vm.get("/memory?megabytes=2000", code=None) is None, "it was given all that it asked for"

    after = replaced(vm, workers)
    vm.wait(READY)
    now = identity(vm)
    assert not workers & after, f"{workers & after} lived on\n{vm.journal()}"
    assert now["NRestarts"] != unit["NRestarts"]
    assert now["InvocationID"] != unit["InvocationID"]


def test_threads_and_files_end_at_the_limits_of_the_drop_in(vm: VM) -> None:
    commented = r"s/^#\(TasksMax\|LimitNOFILE\)/\1/"
    vm.run(f"sed '{commented}' {SHIPPED}/memory.conf >{DROP_INS}/memory.conf")
    restart(vm)

    threads, files = vm.get("/threads?count=4000"), vm.get("/files?count=300000")

    # Two workers and the master have a few of their own.
    assert 2048 - 100 < threads < 2048
    assert 262144 - 200 < files < 262144


def test_without_the_drop_in_files_end_at_the_limit_of_the_unit(vm: VM) -> None:
    restart(vm)

    assert 65536 - 200 < vm.get("/files?count=300000") < 65536


def test_a_service_with_a_network_reaches_no_address_that_is_not_allowed(vm: VM) -> None:
    vm.run(f"cp {SHIPPED}/postgres-tcp.conf {DROP_INS}/")
    restart(vm)

    # sshd listens on both.
    assert vm.get("/connection?host=127.0.0.1&port=22") == "connected"
    assert vm.get("/connection?host=10.0.2.15&port=22") in ("PermissionError", "TimeoutError")

    vm.write(f"{DROP_INS}/test.conf", "[Service]\nIPAddressDeny=\n")
    restart(vm)

    assert vm.get("/connection?host=10.0.2.15&port=22") == "connected", "something else keeps it from that"


def identity(vm: VM) -> dict[str, str]:
    return vm.show("InvocationID", "MainPID", "NRestarts")


def pids(vm: VM) -> set[int]:
    return {int(pid) for pid in vm.run(WORKERS).split()}


def replaced(vm: VM, workers: set[int]) -> set[int]:
    """The workers once there are two, not the same ones, and all are ready."""
    known = "|".join(map(str, workers))
    vm.wait(f"test $({WORKERS} | tr ' ' '\\n' | grep -cE '^({known})$') -lt 2 && {READY}")
    vm.wait(f"test $({WORKERS} | wc -w) = 2")
    return pids(vm)
