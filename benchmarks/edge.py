"""What limits and deadlines cost, and one write per answer gives: `make bench-edge`.

Requests per CPU-second of one worker on a route that does nothing, ours with all limits on, against
`gunicorn --worker-class uvicorn_worker.UvicornWorker`. Both run at once and are asked in turn by wrk. They
are started anew several times: where a process happens to find its memory makes it a few percent faster or
slower for as long as it lives.
Metrics and request ids, which stock has none of, are off: `make bench-observability` says what they cost.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys

from side import BenchmarkError, Side, serving

APP, PATH = "benchmarks.trivial:app", "/"
SETTINGS = {"COACHMAN_METRICS": "false", "COACHMAN_ACCESS_LOG": "off", "COACHMAN_REQUEST_IDS": "false"}


def requests_per_cpu_second(side: Side, seconds: int) -> float:
    before = side.cpu_seconds()
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{side.port}{PATH}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise side.failure(f"did not answer all:\n{done.stdout}")
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found, done.stdout
    return int(found[1]) / (side.cpu_seconds() - before)


def measure(rounds: int, seconds: int) -> tuple[list[float], list[float]]:
    """Of one start, of each round: ours and stock."""
    ours_found, stock_found = [], []
    with (
        serving("ours", 1, SETTINGS, app=APP, request=PATH) as ours,
        serving("stock", 1, app=APP, request=PATH) as stock,
    ):
        for side in (ours, stock):
            requests_per_cpu_second(side, 1)  # warms it
        for number in range(rounds):
            for side in (ours, stock) if number % 2 else (stock, ours):
                found = ours_found if side is ours else stock_found
                found.append(requests_per_cpu_second(side, seconds))
    return ours_found, stock_found


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare requests per CPU-second with the stock worker.")
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6, help="of each start")
    parser.add_argument("--seconds", type=int, default=1)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    try:
        starts = [measure(arguments.rounds, arguments.seconds) for _ in range(arguments.starts)]
    except BenchmarkError as error:
        sys.exit(str(error))
    ours, stock = ([statistics.median(start[side]) for start in starts] for side in (0, 1))
    ratios = [mine / theirs for mine, theirs in zip(ours, stock, strict=True)]
    print(f"ours  {statistics.median(ours):8.0f} requests per CPU-second, median of {len(ours)} starts")
    print(f"stock {statistics.median(stock):8.0f}")
    low, high = min(ratios), max(ratios)
    print(f"ours / stock {statistics.median(ratios):.3f}, of single starts {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
