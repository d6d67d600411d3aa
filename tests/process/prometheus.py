"""A real Prometheus that scrapes a service."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import web
from tests.support.deadlines import REQUEST_SECONDS
from tests.support.ports import free_port
from tests.support.service import REPOSITORY, wait_until

MONITORING = REPOSITORY / "deploy" / "monitoring"


def program(name: str) -> str:
    """Skips the test where it is not installed, but not where CI is set."""
    path = shutil.which(name)
    if path is None:
        if "CI" in os.environ:
            pytest.fail(f"no {name} is installed, and CI is set")
        pytest.skip(f"no {name} is installed; Debian's package is prometheus")
    return path


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = web.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=REQUEST_SECONDS
        ).json()
        assert answer["status"] == "success", f"{expression}\n{answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float:
        """0 where there is nothing."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


@contextlib.contextmanager
def scraping(folder: Path, *ops_ports: int, interval: str = "1s") -> Iterator[Prometheus]:
    """With the configuration that is shipped, at other addresses and more often, and with all rules."""
    config = (MONITORING / "prometheus.yml").read_text()
    targets = ", ".join(f'"127.0.0.1:{port}"' for port in ops_ports)
    config = config.replace('"127.0.0.1:9100"', targets).replace("15s", interval)
    (folder / "prometheus.yml").write_text(config.replace("  - coachman.rules.yml", "  - '*.rules.yml'"))
    for rules in MONITORING.glob("*.rules.yml"):
        shutil.copy(rules, folder)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    prometheus = Prometheus(f"http://{address}")
    try:
        # Before it is ready it answers 503, in plain text.
        ready = f"{prometheus.url}/-/ready"
        is_up = wait_until(lambda: web.get(ready).status_code == 200 and prometheus.value("up"))
        assert is_up, (folder / "prometheus.log").read_text()[-3000:]
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(REQUEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(REQUEST_SECONDS)
