"""A whole machine under QEMU, emulated: a kernel of its own, so that limits hold and the power can be cut.

Driven over ssh. Its disk is a sparse file; it ends with the process that started it.
"""

import contextlib
import json
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.ports import free_port

BOOT_SECONDS = 300  # 15 on a quiet machine
SAVE_SECONDS = 120
READY = "curl -sf -m 20 http://127.0.0.1:9100/readyz"


class Image(NamedTuple):
    """What machines start from. Never written to."""

    boot: Path  # the folder of the kernel, the initrd and root's key
    disk: Path
    state: Path | None = None  # of a machine that ran on that disk, and goes on; without one it boots


class VM:
    """`keeps_log`: of the disk's writes and flushes, for what a power cut leaves (see writes.py)."""

    def __init__(self, image: Image, work: Path, *, keeps_log: bool = False, megabytes: int = 1024) -> None:
        self._image, self._work, self._megabytes = image, work, megabytes
        self._state = image.state
        self.disk, self._console = work / "disk.img", work / "console.log"
        self._monitor = work / "monitor"
        self.log = work / "writes.log" if keeps_log else None
        self._forwards: dict[int, int] = {}
        self._port = 0

    def __enter__(self) -> Self:
        copy_disk(self._image.disk, self.disk)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.cut_power()
        self.disk.unlink(missing_ok=True)  # tests keep their folders, and disks are large

    def start(self) -> None:
        self._port = free_port()
        with (self._work / "qemu.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._state = None  # a second start is a boot
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._has_sshd():
            assert self._process.poll() is None, f"QEMU ended\n{self._last_words()}"
            assert time.monotonic() < deadline, f"not up within {BOOT_SECONDS} s\n{self._last_words()}"
            time.sleep(0.2)  # between two looks
        self.wait("test $(systemctl is-system-running) != starting", seconds=BOOT_SECONDS)

    def cut_power(self) -> None:
        """What has reached the disk is in `disk` and `log`, to the last byte."""
        self._process.kill()
        self._ended()

    def save(self, folder: Path) -> Image:
        """Ends it so that others go on from here, with the same memory, any number of times."""
        image = Image(self._image.boot, folder / "disk.img", folder / "state")
        self._control("exit")  # or they would have a client of this one
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(SAVE_SECONDS)
            monitor.connect(str(self._monitor))
            ask(monitor, "qmp_capabilities")
            ask(monitor, "migrate", uri=f"exec:cat >{shlex.quote(str(image.state))}")
            deadline = time.monotonic() + SAVE_SECONDS
            while (status := ask(monitor, "query-migrate")["status"]) != "completed":
                assert status != "failed", self._last_words()
                assert time.monotonic() < deadline, f"not saved within {SAVE_SECONDS} s: {status}"
                time.sleep(0.1)  # between two looks
        self._process.kill()
        self._process.wait(120)
        self.disk.rename(image.disk)
        return image

    def reboot(self) -> None:
        self._ssh("systemctl reboot", seconds=30)
        self._ended()
        self.start()

    def run(self, command: str, *, code: int | None = 0, seconds: float = 180) -> str:
        """What a root shell prints. Fails when the exit code is not `code`; None takes any."""
        done = self._ssh(command, seconds=seconds)
        assert code is None or done.returncode == code, (
            f"{command}: exit code {done.returncode}\n{done.stdout}\n{self.journal()}"
        )
        return done.stdout

    def begin(self, command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._client(), command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self, condition: str, *, seconds: float = 120) -> str:
        """Until the shell says yes; returns what it printed."""
        deadline = time.monotonic() + seconds
        while (done := self._ssh(condition, seconds=60)).returncode:
            assert time.monotonic() < deadline, f"{condition}: not within {seconds:g} s\n{self.journal()}"
            time.sleep(0.3)  # between two looks
        return done.stdout

    def write(self, path: str, text: str) -> None:
        self.run(f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(text)} >{path}")

    def show(self, *properties: str, unit: str = "coachman.service") -> dict[str, str]:
        """What systemd has of a unit."""
        lines = self.run(f"systemctl show -p {','.join(properties)} {unit}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def get(self, path: str, *, code: int | None = 0) -> Any:
        """The JSON that the service answers in the machine; None for an answer that has none."""
        text = self.run(f"curl -s -m 60 {shlex.quote(f'http://127.0.0.1:8000{path}')}", code=code)
        return json.loads(text) if text else None

    def journal(self, lines: int = 60) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = f"journalctl --no-pager -o cat -n {lines} -u coachman.service"
            return self._ssh(command, seconds=30).stdout
        return self._last_words()

    def forward(self, port: int) -> int:
        """A port here that leads to one on the machine's own loopback."""
        if port not in self._forwards:
            here = free_port()
            self._control("forward", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}")
            self._forwards[port] = here
        return self._forwards[port]

    def _ended(self) -> None:
        self._process.wait(120)
        with contextlib.suppress(subprocess.SubprocessError):
            self._control("exit")
        self._forwards.clear()

    def _has_sshd(self) -> bool:
        # QEMU's network accepts at once, before anybody listens in the machine. Patient: each attempt is one
        # of the ten clients that sshd takes before they have a name.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 10) as stream:
            return stream.recv(4) == b"SSH-"
        return False

    def _last_words(self) -> str:
        files = [self._work / "qemu.log", self._console]
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    def _ssh(self, command: str, *, seconds: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self._client(), command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [*self._client(), "-O", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=30,
        )

    def _client(self) -> list[str]:
        """One connection for all: a handshake takes an emulated processor a second."""
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "ControlMaster": "auto",
            "ControlPath": f"{self._work}/ssh-{self._port}",
            "ControlPersist": "900",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        key = str(self._image.boot / "id_ed25519")
        return ["ssh", "-F", "/dev/null", "-i", key, "-p", str(self._port), *words, "root@127.0.0.1"]

    def _command(self) -> list[str]:
        kernel = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet mitigations=off random.trust_cpu=on"
        # restrict: it reaches nothing outside, and is reached through this one port.
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        return [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"),
            *("-machine", "pc", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"),
            *("-smp", "2", "-m", str(self._megabytes)),
            *("-kernel", f"{self._image.boot}/vmlinuz", "-initrd", f"{self._image.boot}/initrd"),
            *("-append", kernel, "-serial", f"file:{self._console}", "-device", "virtio-rng-pci"),
            *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-qmp", f"unix:{self._monitor},server=on,wait=off"),
            *self._drive(),
            *(() if self._state is None else ("-incoming", f"exec:cat {shlex.quote(str(self._state))}")),
        ]

    def _drive(self) -> list[str]:
        drive = [*("-blockdev", f"driver=file,filename={self.disk},node-name=file")]
        if self.log is None:
            drive += ["-blockdev", "driver=raw,node-name=disk,file=file"]
        else:
            self.log.unlink(missing_ok=True)
            self.log.touch()
            drive += ["-blockdev", f"driver=file,filename={self.log},node-name=log"]
            drive += ["-blockdev", "driver=blklogwrites,node-name=disk,file=file,log=log"]
        return [*drive, "-device", "virtio-blk-pci,drive=disk"]


def ask(monitor: socket.socket, command: str, **arguments: str) -> Any:
    """What QEMU's monitor returns; its events are left out."""
    monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
    with monitor.makefile() as lines:
        for line in lines:
            said = json.loads(line)
            assert "error" not in said, said
            if "return" in said:
                return said["return"]
    raise AssertionError(f"QEMU ended before it answered {command}")


def copy_disk(source: Path, target: Path) -> None:
    command = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    subprocess.run(command, check=True, timeout=120)
