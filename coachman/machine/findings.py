"""What is wrong with a machine, judged by values that were read from it, and the command to run next."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from coachman.releases.instance import Instance

LEAST_FREE_BYTES = 500 * 2**20
LEAST_FREE_SHARE = 0.05
LEAST_AVAILABLE_SHARE = 0.1  # of the memory
FULL_SHARE = 0.9  # of the unit's MemoryMax
SOON_DAYS = 14  # certbot renews 30 days before the end
BACKLOG = 2048  # of coachman.socket
OF_THE_SOCKETS = (
    "COACHMAN_BIND",
    "COACHMAN_HOST",
    "COACHMAN_PORT",
    "COACHMAN_UDS",
    "COACHMAN_OPS_BIND",
    "PORT",
)


class Finding(NamedTuple):
    """What is wrong, as one sentence without its full stop, and what to run."""

    what: str
    next: str


def of_units(instance: Instance, shown: Mapping[str, Mapping[str, str]]) -> Iterable[Finding]:
    """`shown` has systemd's properties of the service and its sockets, by unit."""
    for unit, properties in shown.items():
        if properties["LoadState"] != "loaded":
            yield Finding(f"{unit} is {properties['LoadState']}", f"{instance.command} install PATH")
            continue
        if properties["ActiveState"] != "active":
            state = f"{properties['ActiveState']} ({properties['Result']})"
            yield Finding(f"{unit} is {state}", f"journalctl -u {unit} -n 30; systemctl start {unit}")
        if properties["UnitFileState"] != "enabled":
            yield Finding(f"{unit} does not come up at a boot", f"systemctl enable {unit}")
        if properties["NeedDaemonReload"] == "yes":
            again = f"systemctl daemon-reload && systemctl restart {instance.id}"
            yield Finding(f"{unit} or a drop-in of it has changed, and systemd has not read it", again)


def of_disk(path: str, free: int, total: int, free_inodes: int) -> Iterable[Finding]:
    """`free` and `total` are bytes of the file system of `path`."""
    cure = f"du -xhd2 {path} | sort -h | tail; journalctl --vacuum-size=200M"
    if free < min(LEAST_FREE_BYTES, LEAST_FREE_SHARE * total):
        yield Finding(f"{path} has {free // 2**20} MiB free of {total // 2**20}", cure)
    if free_inodes == 0:
        yield Finding(f"{path} has no inode left: no file can be made", cure)


def of_memory(
    instance: Instance, meminfo: str, current: str, most: str, events: str = ""
) -> Iterable[Finding]:
    """`meminfo` is /proc/meminfo; `current` and `most` are the unit's MemoryCurrent and MemoryMax.

    `events` is memory.events of the unit's cgroup, empty where the kernel keeps none.
    """
    fewer = f"{instance.command} status; {instance.command} scale N"
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}
    if kib["MemAvailable"] < LEAST_AVAILABLE_SHARE * kib["MemTotal"]:
        what = f"{kib['MemAvailable'] // 1024} MiB of {kib['MemTotal'] // 1024} MiB of memory are available"
        yield Finding(what, f"{fewer}, or systemctl set-property {instance.id} MemoryMax=")
    if most.isdecimal() and current.isdecimal() and int(current) > FULL_SHARE * int(most):
        what = f"The service has {int(current) // 2**20} MiB of the {int(most) // 2**20} of its MemoryMax"
        yield Finding(f"{what}: beyond it workers are killed", fewer)
    if killed := int(next(iter(re.findall(r"^oom_kill (\d+)$", events, re.MULTILINE)), 0)):
        what = f"The kernel has killed {killed} of the service's processes for lack of memory since its start"
        yield Finding(
            what, f"journalctl -k -g oom; {fewer}, or systemctl set-property {instance.id} MemoryMax="
        )


def of_settings(path: str, text: str, mode: int, instance: Instance) -> Iterable[Finding]:
    """`text` and `mode` are those of the file of settings."""
    if mode & 0o007:
        yield Finding(f"{path} can be read by every user of this machine", f"chmod 640 {path}")
    for key in OF_THE_SOCKETS:
        if re.search(rf"^{key}=.", text, re.MULTILINE):
            option = "--ops-bind" if "OPS" in key else "--bind"
            what = f"{key} in {path} has no effect: systemd opens the sockets"
            yield Finding(what, f"{instance.command} install {option} HOST:PORT PATH")


def of_certificate(path: str, days: float) -> Iterable[Finding]:
    """`days` are left of the certificate in `path`; below 0 it has expired."""
    if days < SOON_DAYS:
        when = f"ends in {days:.0f} days" if days > 0 else f"has expired {-days:.0f} days ago"
        yield Finding(
            f"The certificate {path} {when}", "certbot renew --dry-run; systemctl status certbot.timer"
        )


def of_kernel(somaxconn: int) -> Iterable[Finding]:
    """`somaxconn` is net.core.somaxconn, which cuts the backlog of every socket."""
    if somaxconn < BACKLOG:
        what = (
            f"net.core.somaxconn={somaxconn}: in a restart fewer clients can wait than the socket's {BACKLOG}"
        )
        yield Finding(what, "sysctl -w net.core.somaxconn=4096, and the same in /etc/sysctl.d/")


def of_clock(is_synchronized: str) -> Iterable[Finding]:
    """`is_synchronized` is what timedatectl says of NTPSynchronized."""
    if is_synchronized == "no":
        yield Finding(
            "The clock is not synchronized", "timedatectl set-ntp true; timedatectl timesync-status"
        )
