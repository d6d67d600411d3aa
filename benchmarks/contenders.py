"""Who is compared: the same application under each server, with the options its manual gives for it."""

import http.client
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from side import GUNICORN, Side

BIN = Path(sys.executable).parent
ITEM = {"sku": "TEA-1", "name": "Darjeeling, 100 g", "unit_price": 450}
NO_FILE = ["-c", os.devnull, "--no-control-socket"]  # or Gunicorn would read ours
OURS, LIMIT = "ours", "raw"


class Contender(NamedTuple):
    name: str
    title: str
    command: str  # {port}, {workers}; empty for our gunicorn.conf.py
    app: str = "app.main:app"


CONTENDERS = [
    Contender(OURS, "Coachman", ""),
    Contender("stock", "Gunicorn with uvicorn-worker", "gunicorn app.main:app --workers {workers} "
              "--worker-class uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port}"),
    Contender("uvicorn", "uvicorn --workers", "uvicorn app.main:app --workers {workers} --port {port} "
              "--no-access-log"),
    Contender("asgi", "Gunicorn's own ASGI worker", "gunicorn app.main:app --workers {workers} "
              "--worker-class asgi --bind 127.0.0.1:{port}"),
    Contender("granian", "Granian", "granian app.main:app --interface asgi --workers {workers} "
              "--host 127.0.0.1 --port {port} --no-access-log"),
    Contender("hypercorn", "Hypercorn", "hypercorn app.main:app --workers {workers} "
              "--worker-class uvloop --bind 127.0.0.1:{port}"),
    Contender(LIMIT, "Coachman, no framework and no database", "", "benchmarks.raw:app"),
]  # fmt: skip


class Running(Side):
    """One contender, with a database of its own."""

    def __init__(self, contender: Contender, workers: int, folder: Path) -> None:
        super().__init__("ours", workers, folder, contender.app, "/items?limit=1", {})
        self.contender, self._workers = contender, workers
        self.name = contender.name
        if contender.command:
            del self._environment["COACHMAN_WORKERS"]

    def command(self) -> list[str]:
        if not self.contender.command:
            return [GUNICORN]
        program, *arguments = self.contender.command.format(port=self.port, workers=self._workers).split()
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
