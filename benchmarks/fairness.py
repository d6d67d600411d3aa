"""How evenly workers share keep-alive connections: `make bench-fairness`.

Each run opens its connections anew, with wrk, and all servers are asked in turn, in another order each round.
The application counts the requests of each of its processes; the largest share is that of the busiest one.
"""

import argparse
import contextlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from contenders import CONTENDERS, OURS, Contender, Running, Workload
from fairness_grid import CORES, ROUTES, Block, Cell, Route, blocks, default, long, short
from fairness_tables import ALONE, Run, Runs, text_of
from rich.console import Console
from servers import conditions, write_between
from side import BenchmarkError

SERVERS = (OURS, "stock", "uvicorn", "granian")
BEGIN, END = "<!-- make bench-fairness ARGS=--write: begin -->", "<!-- fairness: end -->"
START_SECONDS = 8  # of all servers of a block, about
OVERHEAD_SECONDS = 0.1  # of a run: wrk looks ten times a second whether it is to end
IDLE_SECONDS = 0.5
MINUTES = 15
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Counts(NamedTuple):
    """What a process has had."""

    requests: int
    connections: int


NOTHING = Counts(0, 0)


class FairSide(Running):
    """A server with an application that counts."""

    def __init__(self, contender: Contender, app: str, workers: int, folder: Path) -> None:
        path = next(route.path for route in ROUTES.values() if route.app == app)
        super().__init__(
            contender, workers, folder, Workload(app, app, f"benchmarks.fairness_app:{app}", path, SERVERS)
        )
        self._environment["FAIRNESS_FOLDER"] = str(folder)
        self._folder = folder

    def is_idle(self) -> bool:
        """Whether all of its workers have started, as far as one can see from outside."""
        before = self.cpu_seconds()
        time.sleep(IDLE_SECONDS)  # what is measured: the CPU of that time
        return self.cpu_seconds() - before < IDLE_SECONDS / 5

    def counts(self) -> dict[str, Counts]:
        """Of each process, since it started."""
        files = self._folder.glob("requests.*")
        return {path.name: Counts(*struct.unpack("=QQ", path.read_bytes())) for path in files}


@contextlib.contextmanager
def running(contender: Contender, app: str, workers: int, name: str = "") -> Iterator[FairSide]:
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder:
        side = FairSide(contender, app, workers, Path(folder))
        side.name = name or contender.name
        side.start()
        try:
            side.wait_until(side.answers, "a first answer")
            side.wait_until(side.is_idle, "the start of all workers")
            yield side
        finally:
            side.end()


def ask(side: FairSide, route: Route, clients: int, seconds: float) -> Run:
    before, cpu = side.counts(), side.cpu_seconds()
    printed = _wrk(side, route, clients, seconds)
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise side.failure(f"did not answer all:\n{printed}")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\n", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if p99 is None or rate is None:
        raise side.failure(f"was measured by a wrk that prints something else:\n{printed}")
    after = side.counts()
    requests = [count.requests - before.get(name, NOTHING).requests for name, count in after.items()]
    connections = [count.connections - before.get(name, NOTHING).connections for name, count in after.items()]
    return Run(
        largest_share=max(requests) / sum(requests),
        largest_part=max(connections) / sum(connections),
        per_second=float(rate[1]),
        p99_ms=float(p99[1]) * _MILLISECONDS[p99[2]],
        cpu_us=(side.cpu_seconds() - cpu) / sum(requests) * 1e6,
    )


def _wrk(side: FairSide, route: Route, clients: int, seconds: float) -> str:
    """What wrk prints. It counts in whole seconds, and ends at any time when it is interrupted."""
    script = ["-s", route.script] if route.script else []
    url = f"http://127.0.0.1:{side.port}{route.path}"
    command = ["wrk", "-t1", f"-c{clients}", "-d60s", "--timeout", "30s", "--latency", *script, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as wrk:
        try:
            time.sleep(seconds)  # for as long as is asked for
            wrk.send_signal(signal.SIGINT)
            return wrk.communicate(timeout=30)[0]
        finally:
            wrk.kill()


def measure(options: argparse.Namespace, chosen: list[str], cells: list[Cell], runs: Runs) -> bool:
    """Adds to `runs`, so that what there is remains when it is interrupted. Whether that is all."""
    deadline = time.monotonic() + options.minutes * 60
    for block in blocks(cells):
        with contextlib.ExitStack() as stack:
            contenders = [contender for contender in CONTENDERS if contender.name in chosen]
            sides = [stack.enter_context(running(c, block.app, block.workers)) for c in contenders]
            alone = (
                stack.enter_context(running(CONTENDERS[0], block.app, 1, ALONE))
                if _counts_alone(block)
                else None
            )
            for side in [*sides, alone] if alone else sides:
                ask(side, ROUTES[block.cells[0].route], 32, 1)  # warms it
            for _ in range(options.rounds):
                if time.monotonic() > deadline:
                    return False
                for cell in block.cells:
                    _ask_all(cell, sides, alone, options.seconds, runs)
    return True


def _counts_alone(block: Block) -> bool:
    """Whether one worker is asked besides, whose CPU is compared with that of as many as there are cores."""
    return any(_is_full(cell) for cell in block.cells)


def _is_full(cell: Cell) -> bool:
    return cell.workers == CORES > 1 and cell.clients == 6 * CORES


def _ask_all(cell: Cell, sides: list[FairSide], alone: FairSide | None, seconds: float, runs: Runs) -> None:
    asked = [(side, cell) for side in sides]
    if alone is not None and _is_full(cell):
        asked.append((alone, cell._replace(workers=1, clients=6)))
    for side, mine in random.sample(asked, len(asked)):
        runs.setdefault((mine, side.name), []).append(ask(side, ROUTES[mine.route], mine.clients, seconds))


def minutes_of(cells: list[Cell], servers: int, rounds: int, seconds: float) -> float:
    extra = sum(_is_full(cell) for cell in cells)
    starts = sum(START_SECONDS for _ in blocks(cells))
    return ((len(cells) * servers + extra) * rounds * (seconds + OVERHEAD_SECONDS) + starts) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare how evenly servers spread connections.")
    parser.add_argument("--rounds", type=int, help="20, with --short 3")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one run (0.5)")
    parser.add_argument("--short", action="store_true", help="three lines of the table, in a minute")
    parser.add_argument(
        "--long", action="store_true", help="all numbers of workers and connections, in hours"
    )
    parser.add_argument(
        "--minutes", type=float, help=f"after which it ends with what there is ({MINUTES}, --long: 600)"
    )
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS), help="besides ours")
    parser.add_argument("--write", action="store_true", help="put the tables in docs/benchmarks.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    cells = long() if options.long else short() if options.short else default()
    options.rounds = options.rounds or (3 if options.short else 20)
    options.minutes = options.minutes or (600 if options.long else MINUTES)
    chosen = [name for name in SERVERS if name in {OURS, *options.only}]
    runs: Runs = {}
    minutes = minutes_of(cells, len(chosen), options.rounds, options.seconds)
    try:
        with Console(stderr=True).status(
            f"{len(chosen)} servers, {options.rounds} rounds, {minutes:.0f} minutes"
        ):
            is_complete = measure(options, chosen, cells, runs)
        early = "" if is_complete else f"Not all was measured in {options.minutes:g} minutes."
    except BenchmarkError as error:
        early = str(error)
    except KeyboardInterrupt:
        early = "Stopped; all servers are ended."
    counted = conditions(chosen, CORES, options.rounds, 0, options.seconds)
    text = f"{text_of(runs, chosen)}\n\n{CORES} cores, {counted.partition('connections, ')[2]}"
    print(text)
    if early:
        sys.exit(f"{early} That is what was measured until then; it is not written.")
    if options.write:
        write_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
