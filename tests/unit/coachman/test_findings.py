"""What `coachman doctor` says of which values."""

import pytest

from coachman.machine import findings
from coachman.releases.instance import UNNAMED, Instance

UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Result": "success",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
}
GIB = 2**30


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, ""),
        ({"LoadState": "not-found"}, "x.service is not-found"),
        ({"ActiveState": "failed", "Result": "oom-kill"}, "x.service is failed (oom-kill)"),
        ({"UnitFileState": "disabled"}, "x.service does not come up at a boot"),
        (
            {"NeedDaemonReload": "yes"},
            "x.service or a drop-in of it has changed, and systemd has not read it",
        ),
    ],
)
def test_units(changed: dict[str, str], sentence: str) -> None:
    found = list(findings.of_units(UNNAMED, {"x.service": UNIT | changed}))
    assert [finding.what for finding in found] == ([sentence] if sentence else [])


@pytest.mark.parametrize(
    ("free", "total", "inodes", "count"),
    [(100 * GIB, 200 * GIB, 1, 0), (600 * 2**20, 200 * GIB, 1, 0), (2**20, GIB, 1, 1), (GIB, GIB, 0, 1)],
)
def test_disk(free: int, total: int, inodes: int, count: int) -> None:
    found = list(findings.of_disk("/opt", free, total, inodes))
    assert len(found) == count
    assert all(one.next.startswith("du -xhd2 /opt ") for one in found)


def test_memory() -> None:
    meminfo = "MemTotal:        1000000 kB\nMemFree:  1 kB\nMemAvailable:    {} kB\nHugePages_Total:  0\n"

    enough, shop = meminfo.format(500000), Instance("shop")
    assert not list(findings.of_memory(shop, enough, "[not set]", "infinity"))
    assert not list(findings.of_memory(shop, enough, "800", "1000", "oom 0\noom_kill 0\n"))

    [machine] = findings.of_memory(shop, meminfo.format(50000), "800", "1000")
    assert machine.what == "48 MiB of 976 MiB of memory are available"
    assert machine.next.endswith(
        "coachman -n shop scale N, or systemctl set-property coachman-shop MemoryMax="
    )
    [unit] = findings.of_memory(shop, enough, str(290 * 2**20), str(300 * 2**20))
    assert unit.what.startswith("The service has 290 MiB of the 300 of its MemoryMax")
    assert unit.next == "coachman -n shop status; coachman -n shop scale N"
    [killed] = findings.of_memory(shop, enough, "1", "1000", "oom 4\noom_kill 3\noom_group_kill 0\n")
    assert killed.what.startswith("The kernel has killed 3 of the service's processes for lack of memory")
    assert killed.next.startswith("journalctl -k -g oom; ")


def test_settings() -> None:
    shop = Instance("shop")
    assert not list(
        findings.of_settings("env", "# COACHMAN_BIND=x\nCOACHMAN_WORKERS=2\nPORTAL=1\n", 0o640, shop)
    )

    readable, bind = findings.of_settings("env", "A=1\nCOACHMAN_BIND=0.0.0.0:80\n", 0o644, shop)

    assert readable.next == "chmod 640 env"
    assert bind.what == "COACHMAN_BIND in env has no effect: systemd opens the sockets"
    assert bind.next == "coachman -n shop install --bind HOST:PORT PATH"


def test_certificates() -> None:
    assert not list(findings.of_certificate("c", 30))
    assert [one.what for days in (3, -2) for one in findings.of_certificate("c", days)] == [
        "The certificate c ends in 3 days",
        "The certificate c has expired 2 days ago",
    ]


def test_kernel_and_clock() -> None:
    assert not list(findings.of_kernel(4096))
    assert len(list(findings.of_kernel(128))) == 1
    assert not [one for said in ("yes", "") for one in findings.of_clock(said)]
    assert len(list(findings.of_clock("no"))) == 1
