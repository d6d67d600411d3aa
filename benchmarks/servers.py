"""The same applications under several servers: `make servers`, and ARGS=--write for docs/benchmarks.md.

A read of one item from the database, the last of 100 routes, and a trivial route, asked by wrk: a generator
in C, so that the server is what is measured. The contenders of a workload are up all the time and are asked
in turn, in another order each round; ratios are of the same round. CPU is that of all the server's processes.
"""

import argparse
import contextlib
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from contenders import CONTENDERS, LIMIT, OURS, WORKLOADS, Contender, Running, Workload
from rich.console import Console
from side import BenchmarkError

PACKAGES = ("gunicorn", "uvicorn", "uvicorn-worker", "fastapi", "uvloop", "httptools")
DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make servers ARGS=--write: begin -->", "<!-- end -->"


class Sample(NamedTuple):
    per_second: float
    cpu_us: float


class Row(NamedTuple):
    title: str
    per_second: float
    cpu_us: float
    speed: float  # of ours; the median of the rounds' ratios
    cost: float  # also: how many requests ours answers in the CPU time of one of its


Samples = dict[str, list[Sample]]


@contextlib.contextmanager
def running(contender: Contender, workload: Workload, workers: int) -> Iterator[tuple[Running, str]]:
    with tempfile.TemporaryDirectory(prefix="servers-") as folder:
        side = Running(contender, workers, Path(folder), workload)
        if workload.is_shop:
            side.migrate()
        side.start()
        try:
            side.wait_until(side.answers, "a first answer")
            yield side, side.stock() if workload.is_shop and contender.name != LIMIT else workload.path
        finally:
            side.end()


def ask(side: Running, path: str, clients: int, seconds: int) -> Sample:
    before = side.cpu_seconds()
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s"]
    command.append(f"http://127.0.0.1:{side.port}{path}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise side.failure(f"did not answer all:\n{done.stdout}")
    found = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
    assert found, done.stdout
    requests, took = int(found[1]), float(found[2])
    return Sample(requests / took, (side.cpu_seconds() - before) / requests * 1e6)


def measure(
    workload: Workload, names: list[str], workers: int, rounds: int, clients: int, seconds: int
) -> Samples:
    contenders = [one for one in CONTENDERS if one.name in names and one.name in workload.servers]
    samples: Samples = {one.name: [] for one in contenders}
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(running(one, workload, workers)) for one in contenders]
        for side, path in sides:
            ask(side, path, clients, 1)  # warms it
        for _ in range(rounds):
            for side, path in random.sample(sides, len(sides)):
                samples[side.name].append(ask(side, path, clients, seconds))
    return samples


def summarise(samples: Samples) -> list[Row]:
    """Fastest first; the limit last."""
    ours = samples[OURS]
    rows = []
    for contender in CONTENDERS:
        if not (mine := samples.get(contender.name)):
            continue
        speeds = [one.per_second / us.per_second for one, us in zip(mine, ours, strict=True)]
        costs = [one.cpu_us / us.cpu_us for one, us in zip(mine, ours, strict=True)]
        rows.append(
            Row(
                contender.title,
                statistics.median(one.per_second for one in mine),
                statistics.median(one.cpu_us for one in mine),
                statistics.median(speeds),
                statistics.median(costs),
            )
        )
    limit = next(contender.title for contender in CONTENDERS if contender.name == LIMIT)
    return sorted(rows, key=lambda row: (row.title == limit, -row.speed))


def table(rows: list[Row]) -> str:
    lines = [
        "| server | requests/s | to ours | CPU a request, µs | ours per CPU-second |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.title} | {row.per_second:,.0f} | {row.speed:.2f} | {row.cpu_us:.0f} | {row.cost:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def conditions(chosen: list[str], workers: int, rounds: int, clients: int, seconds: int) -> str:
    packages = [*PACKAGES, *(name for name in ("granian", "hypercorn") if name in chosen)]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{workers} worker{'s' * (workers > 1)}, {clients} connections, {rounds} rounds of {seconds} s; "
        f"Python {platform.python_version()}, {versions}."
    )


def write_between(begin: str, end: str, text: str) -> None:
    """Puts a table between two marks of the document."""
    document = DOCUMENT.read_text()
    if begin not in document or end not in document:
        raise SystemExit(f"{DOCUMENT} has not the marks that the table goes between: {begin} and {end}")
    head, _, rest = document.partition(begin)
    DOCUMENT.write_text(f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def main() -> None:
    names = [contender.name for contender in CONTENDERS]
    workloads = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description="Compare servers that run the same application.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement (3)")
    parser.add_argument("--clients", type=int, default=32, help="connections (32)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="servers besides ours")
    parser.add_argument(
        "--workloads", nargs="+", choices=workloads, default=workloads, help="what is asked for (all)"
    )
    parser.add_argument("--write", action="store_true", help="put the table in docs/benchmarks.md")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    console, chosen = Console(stderr=True), [name for name in names if name in {OURS, *options.only}]
    measurement = (options.workers, options.rounds, options.clients, options.seconds)
    parts = []
    try:
        for workload in WORKLOADS:
            if workload.name in options.workloads:
                with console.status(f"{workload.title}: {options.rounds} rounds"):
                    samples = measure(workload, chosen, *measurement)
                parts.append(f"{workload.title}:\n\n{table(summarise(samples))}")
    except BenchmarkError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped; all servers are ended.")
    text = "\n\n".join([*parts, conditions(chosen, *measurement)])
    print(text)
    if options.write:
        write_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
