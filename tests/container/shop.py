"""The shipped Deployment, run by `podman kube play`."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.container.engine import Engine
from tests.support import web
from tests.support.ports import free_port
from tests.support.service import REPOSITORY, wait_until

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
KEY = "a key of the tests"
KEYS = f"tests write {hashlib.sha256(KEY.encode()).hexdigest()} 2026-01-01\n"


class Replica:
    """One pod, in the network of the machine: it has ports of its own instead of an address of its own."""

    def __init__(self, engine: Engine, folder: Path, name: str, image: str, database: str) -> None:
        self._engine, self.name, self._file = engine, name, folder / f"{name}.yaml"
        self.port, self.ops_port = free_port(), free_port()
        self.url, self.ops_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.ops_port}"
        self.container = self.pod = ""
        resources = [self._config_map(), self._keys(), self._deployment(image, database)]
        self._file.write_text(yaml.safe_dump_all(resources))

    def _config_map(self) -> dict[str, Any]:
        kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
        [generator] = kustomization["configMapGenerator"]
        literals = dict(literal.split("=", 1) for literal in generator["literals"])
        ports = {"COACHMAN_BIND": self.url, "COACHMAN_OPS_BIND": self.ops_url}
        literals |= {key: url.removeprefix("http://") for key, url in ports.items()}
        name = {"name": self.name}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": literals}

    def _keys(self) -> dict[str, Any]:
        name = {"name": f"{self.name}-keys"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"keys": KEYS}}

    def _deployment(self, image: str, database: str) -> dict[str, Any]:
        """As shipped, less what this Podman does otherwise than a cluster.

        Podman 4 hands Secrets on undecoded; probes it gives to systemd; ports it would map; and pods whose
        volumes have the same name share them.
        """
        deployment: dict[str, Any] = yaml.safe_load((KUBERNETES / "base" / "deployment.yaml").read_text())
        deployment["metadata"]["name"] = self.name
        pod = deployment["spec"]["template"]["spec"]
        [web] = pod["containers"]
        web["image"] = image
        web["imagePullPolicy"] = "Never"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            del web[probe]
        web["envFrom"][0]["configMapRef"]["name"] = self.name
        web["env"] = [{"name": "SHOP_DATABASE_URL", "value": database}]
        keys = pod["volumes"][-1].pop("secret")
        pod["volumes"][-1]["configMap"] = {"name": f"{self.name}-keys", "items": keys["items"]}
        pod["hostNetwork"] = True
        del web["ports"]
        for place in [*pod["volumes"], *web["volumeMounts"]]:
            place["name"] = f"{self.name}-{place['name']}"
        return deployment

    def start(self) -> None:
        self._engine.podman("kube", "play", self._file)
        listing = ["pod", "ps", "--filter", f"name=^{self.name}-pod", "--format", "{{.Name}}"]
        self.pod = self._engine.podman(*listing)  # a number follows in some versions
        self.container = f"{self.pod}-web"

    def wait_ready(self) -> None:
        assert wait_until(self.is_ready), f"{self.name} is not ready\n{self.log()}"

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return web.get(f"{self.ops_url}/readyz").status_code == 200
        return False

    def inspect(self) -> dict[str, Any]:
        found = self._engine.podman("inspect", "--format", "json", self.container)
        inspected: dict[str, Any] = yaml.safe_load(found)[0]
        return inspected

    def terminate(self) -> int:
        """As a kubelet does after the preStop: SIGTERM, and SIGKILL after the grace. The exit code."""
        self._engine.podman("pod", "stop", "--time", "120", self.pod)
        return int(self.inspect()["State"]["ExitCode"])

    def log(self) -> str:
        done = self._engine.try_podman("logs", self.container)
        return done.stdout + done.stderr

    def remove(self) -> None:
        self._engine.try_podman("kube", "down", self._file)
        self._engine.try_podman("pod", "rm", "--force", "--time", "0", self.pod or "none")
        volumes = [f"{self.name}-{volume}" for volume in ("runtime", "tmp", "secrets")]
        self._engine.try_podman("volume", "rm", "--force", *volumes)
