"""Three nodes that are one Swarm, and the stack on it as it is shipped."""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.load import Load
from tests.support.service import REPOSITORY, wait_until
from tests.swarm.images import Images
from tests.swarm.lan import Lan
from tests.swarm.node import Node

FILES = REPOSITORY / "deploy" / "swarm"
STACK, PORT = "coachman", 8000
KEY, PASSWORD = "a key of the tests", "a-password-of-the-tests"
KEYS = f"tests write {hashlib.sha256(KEY.encode()).hexdigest()} 2026-01-01\n"
SECRETS = {
    "coachman-database-password": PASSWORD,
    "coachman-shop-database-url": f"postgresql://shop:{PASSWORD}@database/shop?sslmode=disable",
    "coachman-keys": KEYS,
}
# Run in a container, too: the value of an expression, or 0 where Prometheus has none.
ASK_PROMETHEUS = """
import json, sys, urllib.parse, urllib.request
query = urllib.parse.urlencode({"query": sys.argv[1]})
with urllib.request.urlopen(f"http://prometheus:9090/api/v1/query?{query}", timeout=20) as answer:
    found = json.load(answer)["data"]["result"]
print(found[0]["value"][1] if found else 0)
"""
# Run in a container, where the DNS of the stack answers: what each replica's ops listener says.
ASK_EACH = """
import json, socket, sys, urllib.request
answers = {}
for one in socket.getaddrinfo("web", 9100, socket.AF_INET):
    url = f"http://{one[4][0]}:9100{sys.argv[1]}"
    answers[one[4][0]] = urllib.request.urlopen(url, timeout=20).read().decode()
print(json.dumps(answers))
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.lan = Lan()
        self._folder = folder
        self.nodes: list[Node] = []

    def start(self, images: Images) -> None:
        for number, name in enumerate(("manager", "worker1", "worker2"), start=11):
            self.nodes.append(Node(self.lan, self._folder, name, number))
            self.nodes[-1].plug_in()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.prepare(images), self.nodes))
        self.manager.docker("swarm", "init", "--advertise-addr", self.manager.address)
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker")
        for node in self.nodes[1:]:
            to = f"{self.manager.address}:2377"
            node.docker("swarm", "join", "--advertise-addr", node.address, "--token", token, to)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # each is tried, whatever became of the others
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            stack.callback(self.lan.close)
            for node in self.nodes:
                stack.callback(node.remove)

    def remains(self) -> list[str]:
        """What there is of it after `close`: nothing."""
        found = [line for node in self.nodes for line in node.remains()]
        return found + [str(path) for path in [self._folder] if path.exists()]

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    def deploy(self) -> None:
        """The commands of docs/beyond-one-vm.md, in their order."""
        self.manager.docker("node", "update", "--label-add", "database=here", "manager")
        for name, value in SECRETS.items():
            self.manager.docker("secret", "create", name, "-", stdin=value)
        self._deploy("postgresql.yaml")
        self.wait_for("database", 1)
        self._deploy("migrate.yaml")
        assert wait_until(self._is_migrated, seconds=300), self.about("migrate")
        self._deploy("stack.yaml")
        self.wait_for("web", 2)
        self.wait_for("ingress", 3)
        assert wait_until(lambda: self.ask("GET", "/items")[0] == 200, seconds=60), self.about("ingress")

    def _deploy(self, name: str) -> None:
        # There is no registry to ask for the digest of an image.
        self.manager.docker(
            "stack", "deploy", "--resolve-image", "never", "--compose-file", FILES / name, STACK
        )

    def _is_migrated(self) -> bool:
        form = ["--format", "{{.CurrentState}}"]
        return self.manager.docker("service", "ps", *form, f"{STACK}_migrate").startswith("Complete")

    def service(self, verb: str, *arguments: str, name: str = "web", seconds: float = 400) -> str:
        """Runs `docker service VERB`, which waits for the service to be as it was asked to be."""
        return self.manager.docker("service", verb, *arguments, f"{STACK}_{name}", seconds=seconds)

    def update(self, *arguments: str, name: str = "web") -> str:
        return self.service("update", "--no-resolve-image", "--quiet", *arguments, name=name)

    def scale(self, replicas: int) -> None:
        self.manager.docker("service", "scale", f"{STACK}_web={replicas}", seconds=400)

    def wait_for(self, name: str, replicas: int) -> None:
        def is_so() -> bool:
            form = ["--format", "{{.Replicas}}"]
            shown = self.manager.docker("service", "ls", "--filter", f"name={STACK}_{name}", *form)
            return shown.split(" ")[0] == f"{replicas}/{replicas}"

        assert wait_until(is_so, seconds=400), self.about(name)

    def tasks(self, name: str = "web") -> dict[str, str]:
        """The node of each task that is to run and does, by its id."""
        form = ["--no-trunc", "--filter", "desired-state=running", "--format", "{{json .}}"]
        shown = self.manager.docker("service", "ps", *form, f"{STACK}_{name}")
        rows: list[dict[str, Any]] = [json.loads(line) for line in shown.splitlines()]
        return {row["ID"]: row["Node"] for row in rows if row["CurrentState"].startswith("Running")}

    def image(self) -> str:
        form = ["--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}"]
        return self.service("inspect", *form)

    def update_state(self) -> str:
        return self.service("inspect", "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}")

    def ask_each(self, path: str) -> dict[str, str]:
        """What each replica answers on its ops listener, by its address."""
        answers: dict[str, str] = json.loads(self._in_a_replica(ASK_EACH, path))
        return answers

    def deploy_prometheus(self) -> None:
        """With this machine's own in place of the image."""
        program = shutil.which("prometheus")
        assert program is not None
        self.manager.build_prometheus(Path(program))
        self._deploy("prometheus.yaml")
        self.wait_for("prometheus", 1)

    def measured(self, expression: str) -> float:
        """What Prometheus in the stack says of it; 0 where it does not answer yet."""
        try:
            return float(self._in_a_replica(ASK_PROMETHEUS, expression))
        except AssertionError:
            return 0.0

    def _in_a_replica(self, code: str, *arguments: str) -> str:
        for node in self.nodes:
            healthy = ["--filter", f"name={STACK}_web", "--filter", "health=healthy"]
            found = node.try_docker("ps", "--quiet", *healthy)
            if found.returncode == 0 and found.stdout.strip():
                container = found.stdout.split()[0]
                return node.docker("exec", container, "python", "-c", code, *arguments)
        raise AssertionError(self.about("web"))

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Through the ingress of the manager: status, headers, body."""
        connection = http.client.HTTPConnection(self.manager.address, PORT, timeout=20)
        connection._create_connection = self.lan.connect  # type: ignore[attr-defined]
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} | (headers or {}))
            answer = connection.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException):
            return 0, {}, None
        finally:
            connection.close()
        kind = answer.headers.get("Content-Type", "")
        given = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, given, json.loads(found) if "json" in kind else found

    @property
    def url(self) -> str:
        """The ingress of the manager, in the network of the tests."""
        return f"http://{self.manager.address}:{PORT}"

    @property
    def scale_command(self) -> str:
        return f"{self.manager.command} service scale {STACK}_web={{n}}"

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs Python with these arguments in the network of the tests."""
        return subprocess.run(
            ["nsenter", "--target", str(self.lan.pid), "--net", sys.executable, *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"LOADTESTS_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def load(self, clients: int = 4) -> Load:
        """The strict client, at the ingress of the manager."""

        def connect(address: tuple[str, int], *rest: Any) -> Any:
            return self.lan.connect((self.manager.address, address[1]), *rest)

        return Load(PORT, "/items", clients=clients, pause=0.02, timeout=30, connect=connect)

    def log(self, name: str) -> str:
        """What the running tasks of the service have written. Asked of each node: all at once may not end."""
        text = ""
        for node in self.nodes:
            named = ["--filter", f"name={STACK}_{name}."]
            for container in node.docker("ps", "--quiet", *named).split():
                done = node.try_docker("logs", container)
                text += done.stdout + done.stderr  # each as the task has written it
        return text

    def about(self, name: str) -> str:
        """What an assertion that fails has to show."""
        parts = [self.manager.try_docker("service", "ps", "--no-trunc", f"{STACK}_{name}")]
        parts.append(self.manager.try_docker("service", "logs", "--tail", "40", f"{STACK}_{name}"))
        parts.append(self.manager.try_docker("node", "ls"))
        return "\n".join(part.stdout + part.stderr for part in parts)


def goes_on(load: Load, count: int = 50, seconds: float = 120) -> bool:
    """Whether so many more answers come in time."""
    before = load.served()
    return wait_until(lambda: load.served() >= before + count, seconds=seconds)
