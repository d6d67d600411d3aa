"""How evenly workers share keep-alive connections: `make bench-fairness`.

Each run opens its connections anew, with wrk, and all servers are asked in turn, in another order each round.
The application counts the requests of each of its processes; the largest share is that of the busiest one.
"""

import argparse
import contextlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from contenders import CONTENDERS, OURS, Contender, Running
from rich.console import Console
from servers import conditions, write_between
from side import BenchmarkError, Side

SERVERS = (OURS, "stock", "uvicorn", "granian")
APP = "benchmarks.fairness_app:counted"
BEGIN, END = "<!-- make bench-fairness ARGS=--write: begin -->", "<!-- fairness: end -->"
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Run(NamedTuple):
    largest_share: float  # from 1 / workers, which is even, to 1
    per_second: float
    p99_ms: float


class FairSide(Running):
    """A server with the application that counts."""

    def __init__(self, contender: Contender, workers: int, folder: Path) -> None:
        Side.__init__(self, OURS, workers, folder, APP, "/", {})
        self.contender, self._workers, self.name, self._app = contender, workers, contender.name, APP
        self._environment["FAIRNESS_FOLDER"] = str(folder)
        if contender.command:
            del self._environment["COACHMAN_WORKERS"]
        self._folder = folder

    def requests(self) -> dict[str, int]:
        """What each process has answered since it started."""
        counts = self._folder.glob("requests.*")
        return {path.name: int.from_bytes(path.read_bytes(), sys.byteorder) for path in counts}


@contextlib.contextmanager
def running(contender: Contender, workers: int) -> Iterator[FairSide]:
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder:
        side = FairSide(contender, workers, Path(folder))
        side.start()
        try:
            side.wait_until(side.answers, "a first answer")
            yield side
        finally:
            side.end()


def ask(side: FairSide, path: str, clients: int, seconds: int) -> Run:
    before = side.requests()
    url = f"http://127.0.0.1:{side.port}{path}"
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise side.failure(f"did not answer all:\n{done.stdout}")
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)\n.*?(\d+) requests in ([\d.]+)s", done.stdout, re.DOTALL)
    if found is None:
        raise side.failure(f"was measured by a wrk that prints something else:\n{done.stdout}")
    counts = [count - before.get(name, 0) for name, count in side.requests().items()]
    p99 = float(found[1]) * _MILLISECONDS[found[2]]
    return Run(max(counts) / sum(counts), int(found[3]) / float(found[4]), p99)


def measure(options: argparse.Namespace, chosen: list[str]) -> dict[tuple[str, int], list[Run]]:
    runs: dict[tuple[str, int], list[Run]] = {}
    with contextlib.ExitStack() as stack:
        contenders = [contender for contender in CONTENDERS if contender.name in chosen]
        sides = [stack.enter_context(running(contender, options.workers)) for contender in contenders]
        for side in sides:
            ask(side, options.path, 32, 1)  # warms it
        for _ in range(options.rounds):
            for clients in options.clients:
                for side in random.sample(sides, len(sides)):
                    found = ask(side, options.path, clients, options.seconds)
                    runs.setdefault((side.name, clients), []).append(found)
    return runs


def table(runs: dict[tuple[str, int], list[Run]], workers: int) -> str:
    lines = [
        f"| connections | server | largest share ({1 / workers:.2f} if even) | worst | requests/s | p99 ms |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    titles = {contender.name: contender.title for contender in CONTENDERS}
    for (name, clients), found in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0] != OURS)):
        shares = [run.largest_share for run in found]
        lines.append(
            f"| {clients} | {titles[name]} | {statistics.median(shares):.2f} | {max(shares):.2f}"
            f" | {statistics.median(run.per_second for run in found):,.0f}"
            f" | {statistics.median(run.p99_ms for run in found):,.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare how evenly servers spread connections.")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=2, help="of one run (2)")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[3, 6, 12, 32], help="connections (3 6 12 32)"
    )
    parser.add_argument("--path", default="/", help="/, /last/1 below a hundred routes, /cpu or /io (/)")
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS), help="besides ours")
    parser.add_argument("--write", action="store_true", help="put the table in docs/benchmarks.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    chosen = [name for name in SERVERS if name in {OURS, *options.only}]
    try:
        with Console(stderr=True).status(f"{len(chosen)} servers, {options.rounds} rounds"):
            runs = measure(options, chosen)
    except BenchmarkError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped; all servers are ended.")
    counted = conditions(chosen, options.workers, options.rounds, max(options.clients), options.seconds)
    told = counted.replace(f"{max(options.clients)} connections", f"`GET {options.path}`")
    text = f"{table(runs, options.workers)}\n\n{told}"
    print(text)
    if options.write:
        write_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
