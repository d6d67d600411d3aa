"""What `coachman doctor` looks at on the machine; findings.py judges it."""

import os
import re
import shutil
import ssl
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from coachman.machine import findings, units
from coachman.machine.findings import Finding
from coachman.releases.command import RefusedError, run
from coachman.releases.instance import Instance
from coachman.releases.layout import Layout
from coachman.releases.systemd_service import Service
from coachman.system.sockets import is_free, parse_address

UNIT_PROPERTIES = ("LoadState", "ActiveState", "Result", "UnitFileState", "NeedDaemonReload")


def examine(instance: Instance) -> Iterator[Finding]:
    """Yields what is wrong with an installed application and its machine, what matters most first.

    Runs as root, and reads only: whether the service would start again is asked as the service's user.
    """
    yield from findings.of_units(
        instance, {unit: _shown(unit) for unit in (instance.service, *instance.sockets)}
    )
    yield from of_ports(instance)
    yield from _of_readiness(instance)
    yield from of_releases(Layout.of(instance))
    yield from of_unit_files(instance)
    yield from _of_settings(instance)
    yield from _of_machine(instance)
    yield from of_certificates()


def drop_ins(instance: Instance) -> list[Path]:
    """Returns the drop-ins of this machine, which are nobody's fault and explain much."""
    return [path for path, state in units.states(instance) if state == units.OF_THIS_MACHINE]


def _shown(unit: str, *names: str) -> dict[str, str]:
    wanted = ",".join(names or UNIT_PROPERTIES)
    lines = run("systemctl", "show", f"--property={wanted}", unit).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def of_ports(instance: Instance) -> Iterable[Finding]:
    """Looks whether somebody else has an address whose socket is not open."""
    for unit in instance.sockets:
        address = Service(instance).listens_on(unit)
        is_port = address and not address.startswith("/")
        if is_port and _shown(unit)["ActiveState"] != "active" and not is_free(parse_address(address)):
            port = address.rpartition(":")[2]
            yield Finding(
                f"Another program listens on {address}, which {unit} wants", f"ss -ltnp 'sport = :{port}'"
            )


def _of_readiness(instance: Instance) -> Iterable[Finding]:
    service = Service(instance)
    if not service.is_active():
        return
    try:
        answer = service.readyz()
    except (OSError, ValueError) as error:
        yield Finding(f"/readyz does not answer: {error}", f"{instance.command} status")
        return
    if answer["status"] != "ready":
        ready = f"{answer['ready']} of {answer['workers']} workers are ready"
        yield Finding(f"The service is {answer['status']}: {ready}", f"{instance.command} status")


def of_releases(layout: Layout) -> Iterable[Finding]:
    """Looks at what `current` names, at what runs, and at what was left half done."""
    serving, command = layout.serving(), layout.instance.command
    if serving is None:
        yield Finding(f"{layout.current} names no release", f"{command} release PATH")
        return
    if not serving.python.exists():
        what = f"The interpreter of release {serving.id} is gone, as after an upgrade of the system"
        yield Finding(what, f"{command} release PATH")
    if layout.fallback.is_symlink():
        what = f"Release {serving.id} was cut off before its outcome; the next start goes back to"
        yield Finding(
            f"{what} {layout.fallback.readlink().name}", f"{command} release PATH; {command} rollback"
        )
    for one in layout.all():
        if not one.is_complete and one != serving:
            yield Finding(
                f"Release {one.id} was never completed", f"rm -r {one.folder}, or {command} release PATH"
            )
    pid = _shown(layout.instance.service, "MainPID").get("MainPID", "0")
    running = Path(f"/proc/{pid}/cwd")
    if pid != "0" and running.exists() and running.resolve() != serving.folder.resolve():
        what = f"{running.resolve().name} serves, and {layout.current} names {serving.id}"
        yield Finding(what, f"systemctl reload {layout.instance.id}")


def of_unit_files(instance: Instance) -> Iterable[Finding]:
    """Looks at the units and drop-ins that were installed; others belong to the machine."""
    for path, state in units.states(instance):
        if state in (units.EDITED, units.MISSING):
            cure = f"systemctl edit {instance.id} for changes; {instance.command} install PATH writes it anew"
            yield Finding(f"{path} is {state}" if state == units.EDITED else f"{path} {state}", cure)


def _of_settings(instance: Instance) -> Iterable[Finding]:
    if instance.settings.exists():
        text, mode = instance.settings.read_text(encoding="utf-8"), instance.settings.stat().st_mode
        yield from findings.of_settings(str(instance.settings), text, mode, instance)
    serving = Layout.of(instance).serving()
    if serving is not None and serving.python.exists():
        try:
            Service(instance).run_as_service(serving, "check")
        except RefusedError as error:
            reason = str(error).splitlines()[-1].rstrip(".")
            yield Finding(
                f"It would not start again: {reason}", f"correct {instance.settings}, or the release"
            )


def _of_machine(instance: Instance) -> Iterable[Finding]:
    for folder in {str(path) for path in (instance.root, instance.state) if path.exists()}:
        disk, inodes = shutil.disk_usage(folder), os.statvfs(folder)
        yield from findings.of_disk(folder, disk.free, disk.total, inodes.f_favail if inodes.f_files else 1)
    used = _shown(instance.service, "MemoryCurrent", "MemoryMax", "ControlGroup")
    meminfo = Path("/proc/meminfo").read_text(encoding="utf-8")
    yield from findings.of_memory(
        *(instance, meminfo, used.get("MemoryCurrent", ""), used.get("MemoryMax", "")),
        _text_of(Path(f"/sys/fs/cgroup{used.get('ControlGroup', '')}/memory.events")),
    )
    yield from findings.of_kernel(int(Path("/proc/sys/net/core/somaxconn").read_text(encoding="utf-8")))
    if run("systemd-detect-virt", "--container", "--quiet").returncode:  # a container's clock is its host's
        clock = run("timedatectl", "show", "--value", "--property=NTPSynchronized")
        yield from findings.of_clock(clock.stdout.strip())


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # a kernel, or a container, that keeps no such file
        return ""


def of_certificates() -> Iterable[Finding]:
    """Looks at the age of each certificate that certbot or nginx has on this machine."""
    for path in sorted(_certificates()):
        try:
            shown = run("openssl", "x509", "-noout", "-enddate", "-in", path)
        except RefusedError:
            yield Finding(
                "There are certificates, and no openssl to read their age", "apt-get install openssl"
            )
            return
        if shown.returncode:
            yield Finding(f"The certificate {path} cannot be read", f"openssl x509 -noout -in {path}")
        else:
            end = ssl.cert_time_to_seconds(shown.stdout.strip().removeprefix("notAfter="))
            yield from findings.of_certificate(path, (end - time.time()) / 86400)


def _certificates() -> set[str]:
    """Returns those of certbot, and those that nginx serves."""
    found = {str(path) for path in Path("/etc/letsencrypt/live").glob("*/fullchain.pem")}
    for folder in ("conf.d", "sites-enabled"):
        for path in Path("/etc/nginx", folder).glob("*"):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            found |= set(re.findall(r"^\s*ssl_certificate\s+(/[^;\s]+);", text, re.MULTILINE))
    return found
