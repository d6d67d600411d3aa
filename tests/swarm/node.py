"""A dockerd as a machine of its own: network, processes and mounts end together when it is killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.support.service import wait_until
from tests.swarm.images import SHOP, Images
from tests.swarm.lan import WITH_US, Lan, is_in_our_network

SCRIPT = Path(__file__).with_name("node.sh")
DOCKER = "/usr/bin/docker"  # of the same package as dockerd: another one may be first on the path
NAMESPACES = ("--net", "--pid", "--mount", "--uts", "--ipc", "--mount-proc")
CGROUPS = Path("/sys/fs/cgroup")
INGRESS, DATABASE = "docker.io/library/nginx:1.28", "docker.io/library/postgres:17"
PROMETHEUS = "docker.io/prom/prometheus:v3.5.0"
START_SECONDS = 300  # of an engine, on a machine that does much else
NEXT, BROKEN, NEVER_HEALTHY = (SHOP.replace(":1", f":{tag}") for tag in ("2", "broken", "never-healthy"))
# Serves nothing and does not end: only the health check of the stack can find it out.
STUCK = """
import asyncio, contextlib
from fastapi import FastAPI

@contextlib.asynccontextmanager
async def lifespan(app):
    await asyncio.Event().wait()
    yield

app = FastAPI(lifespan=lifespan)
"""


class Node:
    def __init__(self, lan: Lan, folder: Path, name: str, number: int) -> None:
        self.name, self._folder = name, folder / name
        self._context = self._folder / "context"  # of images
        self._context.mkdir(parents=True)
        self._lan, self._number, self._leader, self.address = lan, number, 0, ""
        self.cgroup = f"{_own_cgroup()}/coachman-swarm-{os.getpid()}-{name}"
        command = [*WITH_US, "unshare", *NAMESPACES, "--fork", "--kill-child=KILL"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, SCRIPT, self._folder, self.cgroup, name], stdout=log, stderr=log
            )

    def plug_in(self) -> None:
        assert wait_until(lambda: self._first_process() is not None, seconds=60), self.log()
        self._leader = self._first_process() or 0
        self.address = self._lan.plug(self._leader, self._number)

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
        self.docker("tag", SHOP, NEXT)
        # A release that does not start: its application is not there.
        self._build(BROKEN, "ENV COACHMAN_APP=nowhere:app")
        (self._context / "stuck.py").write_text(STUCK)
        self._build(NEVER_HEALTHY, "COPY stuck.py /tests/", "ENV PYTHONPATH=/tests COACHMAN_APP=stuck:app")

    def build_prometheus(self, program: Path) -> None:
        """Builds what stands for Prometheus's own image."""
        shutil.copy(program, self._context / "prometheus")
        self._build(
            PROMETHEUS, "USER root", "COPY prometheus /bin/", 'ENTRYPOINT ["/bin/prometheus"]', "CMD []"
        )

    def _build(self, tag: str, *lines: str) -> None:
        """Builds on the shop's image, from the context."""
        (self._context / "Dockerfile").write_text("\n".join((f"FROM {SHOP}", *lines)))
        self.docker("build", "--quiet", "--tag", tag, self._context, seconds=300)

    def docker(self, *arguments: str | Path, seconds: float = 120, stdin: str = "") -> str:
        done = self.try_docker(*arguments, seconds=seconds, stdin=stdin)
        assert done.returncode == 0, (
            f"{self.name}: docker {arguments}: {done.stderr}\n{done.stdout}\n{self.log()}"
        )
        return done.stdout.strip()

    def try_docker(
        self, *arguments: str | Path, seconds: float = 120, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        command = [*self.command.split(), *map(str, arguments)]
        try:
            return subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
                env=os.environ | {"DOCKER_BUILDKIT": "0"},
            )
        except subprocess.TimeoutExpired:  # as a failure, so that a test can say more
            return subprocess.CompletedProcess(command, 124, "", f"it did not end in {seconds:g} s")

    @property
    def command(self) -> str:
        return f"{DOCKER} --host unix://{self._folder}/socket"

    def kill(self) -> None:
        """As a power cut does: everything on it ends at once, and nobody is told."""
        if self._leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        else:
            self._process.kill()  # the first process in its namespaces ends with it
        self._process.wait(30)

    def remove(self) -> None:
        """Ends it and takes its cgroups away; its mounts and its network have ended with it."""
        self.kill()
        for hierarchy in CGROUPS.iterdir():
            _remove_cgroups(hierarchy / self.cgroup.lstrip("/"))

    def remains(self) -> list[str]:
        """What there is of it after `remove`: nothing."""
        found = [f"/proc/{pid}" for pid in _processes_with(str(self._folder))]
        cgroups = (hierarchy / self.cgroup.lstrip("/") for hierarchy in CGROUPS.iterdir())
        found += [str(folder) for folder in cgroups if folder.exists()]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return found + [line for line in mounts if str(self._folder) in line]

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]


def _processes_with(text: str) -> list[int]:
    """The processes whose command line has the text, but for this one."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and text.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return [pid for pid in found if pid != os.getpid()]


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
