"""What COACHMAN_PRELOAD=off costs: the same service with and without, one after the other in one run.

The replacement of a worker, from kill -9 until another one has answered that was not there before, and the
memory of all processes of the service (PSS). For another application than the shop: --app and --request.
"""

import argparse
import json
import os
import signal
import statistics
import time
import urllib.error
import urllib.request
from pathlib import Path

from side import APP, REQUEST, Side, serving

SETTLE_SECONDS = 1.5  # a worker that ends right after it was ready backs off


def replacement_seconds(side: Side) -> float:
    """From kill -9 of a worker until another one is ready."""
    before = ready_workers(side)
    begun = time.monotonic()
    os.kill(min(before), signal.SIGKILL)
    side.wait_until(lambda: bool(ready_workers(side) - before), "another worker")
    return time.monotonic() - begun


def ready_workers(side: Side) -> set[int]:
    """The pids, as another worker tells them."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{side.ops_port}/readyz", timeout=10) as answer:
            slots = json.load(answer)["slots"]
    except urllib.error.HTTPError as error:  # 503 while none is ready
        slots = json.load(error)["slots"]
    except OSError:  # of the worker that is killed
        return set()
    return {slot["pid"] for slot in slots if slot["state"] == "ready"}


def memory_mib(side: Side) -> float:
    """Of the master and its workers: a page that several share counts in parts."""
    return sum(pss_kib(pid) for pid in (side.master.pid, *side.workers())) / 1024


def pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def measure(preload: str, arguments: argparse.Namespace) -> tuple[float, float]:
    settings = {"COACHMAN_PRELOAD": preload}
    with serving(
        f"ours, preload {preload}", arguments.workers, settings, app=arguments.app, request=arguments.request
    ) as side:
        side.wait_until(lambda: len(ready_workers(side)) == arguments.workers, "all ready")
        seconds = []
        for _ in range(arguments.kills):
            time.sleep(SETTLE_SECONDS)  # who ends sooner after its start counts as failed, and is backed off
            seconds.append(replacement_seconds(side))
        return statistics.median(seconds), memory_mib(side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", default=APP)
    parser.add_argument("--request", default=REQUEST)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    (on_seconds, on_mib), (off_seconds, off_mib) = (measure(preload, arguments) for preload in ("on", "off"))
    print(f"with preload: replaced in {on_seconds:.2f} s, {on_mib:.0f} MiB in all")
    print(f"without:      replaced in {off_seconds:.2f} s, {off_mib:.0f} MiB in all")
    print(
        f"without it takes x {off_seconds / on_seconds:.1f} the time and x {off_mib / on_mib:.1f} the memory"
    )


if __name__ == "__main__":
    main()
