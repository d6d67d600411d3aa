"""A dockerd as a machine of its own: network, processes and mounts end together when it is killed."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.service import wait_until
from tests.swarm.images import SHOP, Images
from tests.swarm.lan import WITH_US, Lan, is_in_our_network

SCRIPT = Path(__file__).with_name("node.sh")
DOCKER = "/usr/bin/docker"  # of the same package as dockerd: another one may be first on the path
CGROUPS = Path("/sys/fs/cgroup")
INGRESS, DATABASE = "docker.io/library/nginx:1.28", "docker.io/library/postgres:17"
START_SECONDS = 300  # of an engine, on a machine that does much else


class Node:
    def __init__(self, lan: Lan, folder: Path, name: str, number: int) -> None:
        self.name, self._folder = name, folder / name
        self._folder.mkdir()
        self.cgroup = f"{_own_cgroup()}/coachman-swarm-{os.getpid()}-{name}"
        namespaces = ["--net", "--pid", "--mount", "--uts", "--ipc", "--mount-proc"]
        command = [*WITH_US, "unshare", *namespaces, "--fork", "--kill-child=KILL"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, SCRIPT, self._folder, self.cgroup, name], stdout=log, stderr=log
            )
        assert wait_until(lambda: self._first_process() is not None, seconds=60), self.log()
        self._leader = self._first_process() or 0
        self.address = lan.plug(self._leader, number)

    def _first_process(self) -> int | None:
        """The pid of the first process in its namespaces, once it is in them."""
        found = subprocess.run(
            ["pgrep", "--parent", str(self._process.pid)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        pid = int(found.stdout.split()[0]) if found.stdout.strip() else None
        return None if pid is None or is_in_our_network(pid) else pid

    def wait_until_up(self) -> None:
        assert wait_until(self._is_up, seconds=START_SECONDS), f"{self.name} did not start\n{self.log()}"

    def _is_up(self) -> bool:
        assert self._process.poll() is None, f"{self.name} ended\n{self.log()}"
        return self.try_docker("version").returncode == 0

    def prepare(self, images: Images) -> None:
        """Waits until it is up, and gives it the images, under the names that the stack has for them."""
        self.wait_until_up()
        self.docker("load", "--input", images.shop, seconds=600)
        entry = 'ENTRYPOINT ["/usr/local/bin/postgres.sh"]'
        changes = ["--change", entry, "--change", 'CMD ["postgres"]']
        self.docker("import", *changes, images.support, DATABASE, seconds=600)
        self.docker("tag", DATABASE, INGRESS)
        self.docker("tag", SHOP, SHOP.replace(":1", ":2"))
        # A release that does not start: its application is not there.
        broken = f"FROM {SHOP}\nENV COACHMAN_APP=nowhere:app\n"
        tag = SHOP.replace(":1", ":broken")
        self.docker("build", "--quiet", "--tag", tag, "-", seconds=120, stdin=broken)

    def docker(self, *arguments: str | Path, seconds: float = 120, stdin: str = "") -> str:
        done = self.try_docker(*arguments, seconds=seconds, stdin=stdin)
        assert done.returncode == 0, (
            f"{self.name}: docker {arguments}: {done.stderr}\n{done.stdout}\n{self.log()}"
        )
        return done.stdout.strip()

    def try_docker(
        self, *arguments: str | Path, seconds: float = 120, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [DOCKER, "--host", f"unix://{self._folder}/socket", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=os.environ | {"DOCKER_BUILDKIT": "0"},
        )

    def kill(self) -> None:
        """As a power cut does: everything on it ends at once, and nobody is told."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGKILL)
        self._process.wait(30)

    def remove(self) -> None:
        """Ends it and takes its cgroups away; its mounts and its network have ended with it."""
        self.kill()
        for hierarchy in CGROUPS.iterdir():
            _remove_cgroups(hierarchy / self.cgroup.lstrip("/"))

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]


def _own_cgroup() -> str:
    """Where the tests are by CPU: what limits them is to limit the containers. Of version 2 the root."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if "cpu" in names.split(","):
            return path.rstrip("/")
    return ""


def _remove_cgroups(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        with contextlib.suppress(OSError):  # what is killed needs a moment to be gone
            folder.rmdir()
            return
        time.sleep(0.1)
