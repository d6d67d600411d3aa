"""The nginx of deploy/swarm in front of replicas on this machine."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port
from tests.support.service import REPOSITORY, Service, wait_until

SHIPPED = REPOSITORY / "deploy" / "swarm" / "ingress.conf"
# What stands for the DNS of the stack, which there is not here.
LOOKED_UP = ("set $web web;", "proxy_pass http://$web:8000;")


@contextlib.contextmanager
def ingress(folder: Path, replicas: list[Service]) -> Iterator[str]:
    """Returns its address."""
    port = free_port()
    text = SHIPPED.read_text()
    for line in (*LOOKED_UP, "listen 8000;", "    server {\n"):
        assert text.count(line) == 1, line
    servers = " ".join(f"server 127.0.0.1:{replica.port};" for replica in replicas)
    text = text.replace("    server {\n", f"    upstream web {{ {servers} }}\n    server {{\n")
    text = text.replace(LOOKED_UP[0], "").replace(LOOKED_UP[1], "proxy_pass http://web;")
    text = text.replace("listen 8000;", f"listen 127.0.0.1:{port};").replace("/tmp/", f"{folder}/")
    # One process has one turn: with several each would begin with the first replica.
    text = text.replace("worker_processes auto;", "worker_processes 1;")
    (folder / "ingress.conf").write_text(text)
    log = folder / "ingress.log"
    files = ["-p", str(folder), "-c", str(folder / "ingress.conf"), "-e", str(log)]
    with log.open("wb") as output:
        process = subprocess.Popen(["nginx", *files, "-g", "daemon off;"], stderr=output)
    try:
        assert wait_until((folder / "nginx.pid").exists), log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
