"""A machine of its own for a test: systemd as PID 1 in a container, with its own network and process table.

Its disk is an overlay on layers that are never written to. All of it ends with the process that started it.
No limits are enforced in it (MemoryMax, TasksMax, IPAddressDeny): those need a kernel of their own.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.support.network import connect_in

# For what hangs alone: where the machine around is busy, everything may take ten times as long.
LIMIT_SECONDS = 300
INSTALL_SECONDS = 1200  # of a command that may install packages, or of several
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "COLUMNS": "110",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}


class Machine:
    """`layers`: the lowest last. `work` keeps the disk over a reboot; it must not be on an overlay itself."""

    def __init__(self, layers: Sequence[Path], work: Path, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"  # two runs at a time leave each other alone
        self.disk = work / "disk"
        self._layers, self._work, self._console = layers, work, work / "console.log"
        self._netns = -1
        self._begun: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, seconds: float = LIMIT_SECONDS) -> None:
        _clear_cgroups(self.name)
        for folder in ("disk", "overlay", "root"):
            (self._work / folder).mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self._console.open("ab") as console:
            address = f"coachman-{self.name}-{os.getpid()}"
            notify.bind(f"\0{address}")
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT | {"NOTIFY_SOCKET": f"@{address}"},
            )
            self._wait_for_systemd(notify, time.monotonic() + seconds)
        # nspawn's own notion of the leader is a number of the PID namespace around it.
        [leader, *_] = self._pids("payload/init.scope/cgroup.procs")
        self.leader = leader
        self._netns = os.open(f"/proc/{leader}/ns/net", os.O_RDONLY)
        self.wait("test $(systemctl is-system-running) != starting", seconds=seconds)

    def stop(self) -> None:
        """As poweroff does; at once where that takes too long."""
        for begun in self._begun:  # of tests that failed before they waited for it
            begun.kill()
            begun.communicate(timeout=LIMIT_SECONDS)
        self._begun.clear()
        if self._netns >= 0:
            os.close(self._netns)
            self._netns = -1
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGRTMIN + 4)
        try:
            self._process.wait(90)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(LIMIT_SECONDS)
        finally:
            _clear_cgroups(self.name)

    def reboot(self) -> None:
        self.stop()
        self.start()

    def run(self, command: str, *, code: int | None = 0, seconds: float = INSTALL_SECONDS) -> str:
        """What a root shell prints. Fails when the exit code is not `code`; None takes any."""
        try:
            done = subprocess.run(
                [*self.enter(), "/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                env=ENVIRONMENT,
            )
        except subprocess.TimeoutExpired as error:
            printed = (error.stdout or b"").decode(errors="replace")
            raise AssertionError(
                f"{command}: not within {seconds:g} s\n{printed}\n{self.journal()}"
            ) from None
        assert code is None or done.returncode == code, (
            f"{command}: exit code {done.returncode}\n{done.stdout}\n{self.journal()}"
        )
        return done.stdout

    def begin(self, command: str) -> "subprocess.Popen[str]":
        begun = subprocess.Popen(
            [*self.enter(), "/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )
        self._begun.append(begun)
        return begun

    def wait(self, condition: str, *, seconds: float = LIMIT_SECONDS) -> None:
        """Until the shell says yes."""
        deadline, pause = time.monotonic() + seconds, 0.05
        while subprocess.run(
            [*self.enter(), "/bin/sh", "-c", condition], capture_output=True, timeout=seconds, env=ENVIRONMENT
        ).returncode:
            assert time.monotonic() < deadline, f"{condition}: not within {seconds:g} s\n{self.journal()}"
            time.sleep(pause)  # between two looks, which compute as long as what they wait for
            pause = min(0.4, 1.3 * pause)

    def enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]

    def put(self, source: Path, folder: str) -> None:
        """Copies a file or a folder into a folder there."""
        pack = ["tar", "-C", str(source.parent), "--owner=0", "--group=0", "-cf", "-", source.name]
        unpack = f"mkdir -p {shlex.quote(folder)} && tar -C {shlex.quote(folder)} -xf -"
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
            subprocess.run(
                [*self.enter(), "sh", "-c", unpack], stdin=packing.stdout, check=True, timeout=LIMIT_SECONDS
            )
        assert packing.returncode == 0

    def write(self, path: str, text: str) -> None:
        subprocess.run(
            [*self.enter(), "sh", "-c", f"mkdir -p $(dirname {path}) && cat >{path}"],
            input=text,
            text=True,
            check=True,
            timeout=LIMIT_SECONDS,
            env=ENVIRONMENT,
        )

    def show(self, what: str, unit: str = "coachman.service") -> str:
        """A property that systemd has of a unit."""
        return self.run(f"systemctl show --value -p {what} {unit}").strip()

    def pids_outside(self, unit: str) -> list[int]:
        """Every process of a unit, by its number in this process's own table."""
        return self._pids(f"payload/system.slice/{unit}/cgroup.procs")

    def journal(self, unit: str = "coachman.service", lines: int = 60) -> str:
        return subprocess.run(
            [*self.enter(), "journalctl", "--no-pager", "-o", "cat", "-n", str(lines), "-u", unit],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            env=ENVIRONMENT,
        ).stdout

    def connect(self, address: tuple[str, int], timeout: float = 60, *_: object) -> socket.socket:
        """A connection made in the machine's network."""
        return connect_in(self._netns, address, timeout)

    def _command(self) -> list[str]:
        """All in a PID namespace that ends with this process, and in mounts that nobody has to undo."""
        nspawn = ["systemd-nspawn", "--directory", f"{self._work}/root", "--boot", "--machine", self.name]
        nspawn += ["--register=no", "--keep-unit", "--notify-ready=yes", "--console=read-only"]
        nspawn += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--private-network"]
        # A cgroup of its own: two machines in one would stop each other's units.
        steps = [f"mkdir -p {group} && echo $$ >{group}/cgroup.procs" for group, _ in _cgroups(self.name)]
        options = (
            f"lowerdir={':'.join(map(str, self._layers))},upperdir={self.disk},workdir={self._work}/overlay"
        )
        steps += [f"mount -t overlay overlay -o {options} {self._work}/root", f"exec {shlex.join(nspawn)}"]
        return [
            *("setpriv", "--pdeathsig", "KILL"),
            *("unshare", "--mount", "--propagation", "private"),
            *("--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
            *("sh", "-ec", "\n".join(steps)),
        ]

    def _wait_for_systemd(self, notify: socket.socket, deadline: float) -> None:
        notify.settimeout(0.2)
        while True:
            assert self._process.poll() is None, f"the machine ended\n{self._console.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"systemd is not up\n{self._console.read_text()[-3000:]}"
            with contextlib.suppress(TimeoutError):
                if "READY=1" in notify.recv(8192).decode().splitlines():
                    return

    def _pids(self, pattern: str) -> list[int]:
        for group, _ in _cgroups(self.name):
            for file in group.glob(pattern):
                return [int(pid) for pid in file.read_text().split()]
        raise AssertionError(f"no {pattern} in the cgroup of {self.name}")


def _cgroups(name: str) -> Iterator[tuple[Path, bool]]:
    """Of the machine, in each hierarchy that systemd uses, and whether it is of version 2."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            yield Path(place, name), kind == "cgroup2"


def finish(begun: "subprocess.Popen[str]") -> str:
    """What a command printed that Machine.begin has begun, once it has ended."""
    printed, _ = begun.communicate(timeout=LIMIT_SECONDS)
    return printed


def _clear_cgroups(name: str) -> None:
    """Ends what a run that was killed may have left, by the machine's own cgroup."""
    for group, _ in _cgroups(name):
        deadline = time.monotonic() + 60
        while (pids := _pids_below(group)) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        folders = [path for path in group.rglob("*") if path.is_dir()] if group.exists() else []
        for folder in [*sorted(folders, key=lambda path: -len(path.parts)), group]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _pids_below(group: Path) -> list[int]:
    found = []
    for file in group.rglob("cgroup.procs") if group.exists() else ():
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in file.read_text().split() if pid != "0"]
    return found
