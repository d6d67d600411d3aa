"""Who is compared, and with what: each server with the options its manual gives for it, and each request."""

import http.client
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import compiler_apps
from side import GUNICORN, Side

BIN = Path(sys.executable).parent
ITEM = {"sku": "TEA-1", "name": "Darjeeling, 100 g", "unit_price": 450}
NO_FILE = ["-c", os.devnull, "--no-control-socket"]  # or Gunicorn would read ours
OURS, LIMIT = "ours", "raw"


class Contender(NamedTuple):
    name: str
    title: str
    command: str  # {app}, {port}, {workers}; empty for our gunicorn.conf.py
    app: str = ""  # in the place of the workload's


CONTENDERS = [
    Contender(OURS, "Coachman", ""),
    Contender("stock", "Gunicorn with uvicorn-worker", "gunicorn {app} --workers {workers} "
              "--worker-class uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port}"),
    Contender("uvicorn", "uvicorn --workers", "uvicorn {app} --workers {workers} --port {port} "
              "--no-access-log"),
    Contender("asgi", "Gunicorn's own ASGI worker", "gunicorn {app} --workers {workers} "
              "--worker-class asgi --bind 127.0.0.1:{port}"),
    Contender("granian", "Granian", "granian {app} --interface asgi --workers {workers} "
              "--host 127.0.0.1 --port {port} --no-access-log"),
    Contender("hypercorn", "Hypercorn", "hypercorn {app} --workers {workers} "
              "--worker-class uvloop --bind 127.0.0.1:{port}"),
    Contender(LIMIT, "Coachman, no framework and no database", "", "benchmarks.raw:app"),
]  # fmt: skip


class Workload(NamedTuple):
    """One application, and the request for which it is measured."""

    name: str
    title: str
    app: str
    path: str  # that answers once it has started
    servers: tuple[str, ...]  # by the names of contenders
    is_shop: bool = False  # asked for an item that is made first


WORKLOADS = [
    Workload("items", "`GET /items/1`, with its database", "app.main:app", "/items?limit=1",
             tuple(contender.name for contender in CONTENDERS), True),
    Workload("routes", "The last of 100 routes, with three dependencies", "benchmarks.compiler_apps:app",
             compiler_apps.last_path(), (OURS, "uvicorn", "granian", LIMIT)),
    Workload("trivial", "A trivial route, the only one", "benchmarks.trivial:app", "/",
             (OURS, "uvicorn", "granian", LIMIT)),
]  # fmt: skip


class Running(Side):
    """One contender, with a database of its own."""

    def __init__(
        self, contender: Contender, workers: int, folder: Path, workload: Workload = WORKLOADS[0]
    ) -> None:
        self._app = contender.app or workload.app
        super().__init__("ours", workers, folder, self._app, workload.path, {})
        self.contender, self._workers = contender, workers
        self.name = contender.name
        if contender.command:
            del self._environment["COACHMAN_WORKERS"]

    def command(self) -> list[str]:
        if not self.contender.command:
            return [GUNICORN]
        program, *arguments = self.contender.command.format(
            app=self._app, port=self.port, workers=self._workers
        ).split()
        return [str(BIN / program), *arguments, *(NO_FILE if program == "gunicorn" else [])]

    def stock(self) -> str:
        """Makes the item that is asked for, and returns its path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/items", json.dumps(ITEM), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return f"/items/{found['id']}"

    def cpu_seconds(self) -> float:
        """Of the master and all below it: some servers put processes between."""
        pids, ticks = [self.master.pid], 0
        for pid in pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                tasks = list(Path(f"/proc/{pid}/task").iterdir())
                pids += [int(child) for task in tasks for child in (task / "children").read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
