"""Podman and buildah with a storage of the tests' own: the machine keeps nothing of it."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

# Podman asks for more open files and processes than a container of ours may have where we are in one.
CONF = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{runtime}"
"""


class Engine:
    def __init__(self, folder: Path, runtime: str) -> None:
        self._folder = folder
        conf = folder / "containers.conf"
        files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        conf.write_text(CONF.format(files=files, runtime=runtime))
        self._environment = os.environ | {"CONTAINERS_CONF": str(conf)}
        self._storage = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run"]

    def close(self) -> None:
        """Podman leaves its storage mounted on itself, and what is mounted cannot be removed."""
        self.try_podman("rm", "--all", "--force", "--time", "0")
        subprocess.run(["umount", "--recursive", "--lazy", f"{self._folder}/storage/overlay"], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def podman(self, *arguments: str | Path, seconds: float = 300) -> str:
        done = self.try_podman(*arguments, seconds=seconds)
        assert done.returncode == 0, f"podman {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def try_podman(self, *arguments: str | Path, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        return self._run("podman", *arguments, seconds=seconds)

    def build(self, context: Path, tag: str, *, base: str) -> None:
        """Chroot isolation: a build step needs no more than root does, also inside of a container."""
        file = ["--file", "deploy/container/Containerfile"]
        arguments = ["build", "--isolation", "chroot", "--build-arg", f"BASE={base}", "--tag", tag, *file]
        done = self._run("buildah", *arguments, context, seconds=1200, cwd=context)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def _run(
        self, program: str, *arguments: str | Path, seconds: float, cwd: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *self._storage, *map(str, arguments)],
            env=self._environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
