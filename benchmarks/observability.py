"""What it costs to see: `make bench-observability`.

Two services of the same application, one with all of it on (metrics, an access line for each request,
request ids, a scrape every five seconds), one with all of it off, are asked in turn, a second each, the one
and the other first: at the same time they would disturb each other more than what is to be found. What is
compared is the number of requests per second of CPU time, of the master and all workers. Each round gives a
ratio; their median is the result.
Options: make bench-observability ARGS="--rounds 60 --seconds 2 --json". Needs wrk.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from side import REQUEST, BenchmarkError, Side, serving

WORKERS = 4
CONNECTIONS = 8
ON = {"COACHMAN_METRICS": "true", "COACHMAN_ACCESS_LOG": "on", "COACHMAN_REQUEST_IDS": "true"}
OFF = {"COACHMAN_METRICS": "false", "COACHMAN_ACCESS_LOG": "off", "COACHMAN_REQUEST_IDS": "false"}


def measure(rounds: int, seconds: int) -> list[dict[str, float]]:
    """Requests per CPU-second of both, a pair for each round."""
    pairs = []
    with (
        serving("ours, on", WORKERS, ON) as on,
        serving("ours, off", WORKERS, OFF) as off,
        scraped(on),
    ):
        for number in range(rounds + 1):
            order = (on, off) if number % 2 else (off, on)
            found = {side: requests_per_cpu_second(side, seconds) for side in order}
            pairs.append({"on": found[on], "off": found[off], "ratio": found[on] / found[off]})
    return pairs[1:]  # the first one warms them up


def requests_per_cpu_second(side: Side, seconds: int) -> float:
    before = cpu_seconds(side)
    command = [
        *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout=30s"),
        f"http://127.0.0.1:{side.port}{REQUEST}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    requests = re.search(r"(\d+) requests in", said)
    if requests is None or "Non-2xx" in said or "Socket errors" in said:
        raise side.failure(f"answered wrk with failures:\n{said}")
    return int(requests[1]) / (cpu_seconds(side) - before)


def cpu_seconds(side: Side) -> float:
    ticks = 0
    for pid in (side.master.pid, *side.workers()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def scraped(side: Side) -> Iterator[None]:
    """Three times as often as Prometheus would."""
    end = threading.Event()

    def scrape() -> None:
        while not end.wait(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{side.ops_port}/metrics", timeout=10) as answer:
                answer.read()

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(15)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Requests per CPU-second, all of it on against all of it off."
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print each round, as JSON")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian and Ubuntu: apt install wrk")
    try:
        pairs = measure(options.rounds, options.seconds)
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
    ratio = statistics.median(pair["ratio"] for pair in pairs)
    if options.json:
        print(json.dumps({"ratio": ratio, "rounds": pairs}))
        return
    for name in ("on", "off"):
        print(f"{name:>4}: {statistics.median(pair[name] for pair in pairs):,.0f} requests per CPU-second")
    spread = sorted(pair["ratio"] for pair in pairs)
    low, high = spread[len(spread) // 4], spread[-1 - len(spread) // 4]
    print(f"on / off: {ratio:.3f} (median of {len(pairs)} rounds, half of them {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
