"""What the data layer costs a request: `make bench-http-database`.

One worker with a read and a durable write, on our data layer, stock `databases`, aiosqlite as it is usually
written, and no database. All four run all the time and are asked in turn by wrk; what counts is the median
of the ratios of one round.
"""

import argparse
import contextlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from side import BenchmarkError, Side, serving

APP = "benchmarks.database_app:app"
KINDS = ("ours", "stock", "raw", "none")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Load(NamedTuple):
    per_second: float
    cpu_us: float  # of a request
    p99_ms: float


class Criterion(NamedTuple):
    """Ours against the other: at least, or for times and CPU at most, so many times."""

    method: str
    figure: str
    other: str
    limit: float


CRITERIA = (
    Criterion("GET", "per_second", "none", 0.80),
    Criterion("GET", "per_second", "stock", 5),
    Criterion("GET", "per_second", "raw", 1.1),
    Criterion("GET", "cpu_us", "none", 1.30),
    Criterion("GET", "p99_ms", "none", 1.5),
    Criterion("POST", "per_second", "stock", 5),
    Criterion("POST", "p99_ms", "stock", 0.2),
)

Round = dict[tuple[str, str], Load]


def load(side: Side, method: str, script: Path, seconds: int) -> Load:
    before = side.cpu_seconds()
    address = f"http://127.0.0.1:{side.port}/{'items/1' if method == 'GET' else 'log'}"
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "10s", "--latency", address]
    command += ["-s", str(script)] if method == "POST" else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    count = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)  # stock: "database is locked"
    if count is None or p99 is None:
        raise side.failure(f"did not answer:\n{done.stdout}")
    good = max(int(count[1]) - int(refused[1] if refused else 0), 1)
    cpu = (side.cpu_seconds() - before) / good * 1e6
    return Load(good / float(count[2]), cpu, float(p99[1]) * UNITS[p99[2]])


def measure(rounds: int, seconds: int) -> list[Round]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script = folder / "post.lua"
        script.write_text('wrk.method = "POST"\n')
        sides = {
            kind: stack.enter_context(
                serving("ours", 1, {"BENCH_DATABASE": kind}, app=APP, request="/items/1")
            )
            for kind in KINDS
        }
        found = []
        for number in range(rounds + 1):
            turn = number % len(KINDS)
            order = KINDS[turn:] + KINDS[:turn]
            one = {
                (kind, way): load(sides[kind], way, script, seconds)
                for way in ("GET", "POST")
                for kind in order
            }
            found.append(one)
        return found[1:]  # the first warms them


def report(found: list[Round]) -> None:
    figures = defaultdict(list)
    for one in found:
        for key, value in one.items():
            figures[key].append(value)
    for (kind, method), values in sorted(figures.items(), key=lambda item: item[0][1]):
        median = [statistics.median(each) for each in zip(*values, strict=True)]
        print(
            f"{method:<5}{kind:<6}{median[0]:8.0f} requests/s {median[1]:7.0f} us CPU {median[2]:8.1f} ms p99"
        )
    for method, figure, other, limit in CRITERIA:
        ratio = statistics.median(
            getattr(one["ours", method], figure) / getattr(one[other, method], figure) for one in found
        )
        met = ratio >= limit if figure == "per_second" else ratio <= limit
        sign = ">=" if figure == "per_second" else "<="
        name = f"{method} {figure}, ours / {other}"
        print(f"{name:<32}{ratio:8.2f}  {sign} {limit:<5g} {'met' if met else 'NOT MET'}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare requests that read and write a database.")
    parser.add_argument("--quick", action="store_true", help="two short rounds: a look, not a result")
    quick = parser.parse_args().quick
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    try:
        report(measure(*((2, 1) if quick else (5, 3))))
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
