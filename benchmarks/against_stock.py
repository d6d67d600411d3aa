"""How Coachman compares with the usual deployment of the same application: `make bench`.

Both sides are measured in one run, in turn: only their ratio survives a change of machine. The usual side is
`gunicorn app.main:app --worker-class uvicorn_worker.UvicornWorker`, all defaults; Uvicorn's own
`uvicorn.workers.UvicornWorker` is deprecated in favour of it. Options: make bench ARGS="--kills 30 --json"

- memory: PSS of the master and its workers, with five and with one, divided by four
- respawn: from `kill -9` of the only worker to the first answer of its replacement
"""

import argparse
import json
import os
import platform
import random
import select
import signal
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from side import STOP_SECONDS, BenchmarkError, Side, serving

PACKAGES = ("gunicorn", "uvicorn", "uvicorn-worker", "uvloop", "httptools", "fastapi", "aiosqlite")
MANY_WORKERS = 5
REQUESTS_PER_WORKER = 40

Samples = dict[str, list[float]]


def measure_memory(rounds: int) -> Samples:
    """MiB per extra worker, a sample each round."""
    samples: Samples = {"ours": [], "stock": []}
    for _ in range(rounds):
        for name, found in samples.items():
            extra = settled_pss_mib(name, MANY_WORKERS) - settled_pss_mib(name, 1)
            found.append(extra / (MANY_WORKERS - 1))
    return samples


def settled_pss_mib(name: str, workers: int) -> float:
    with serving(name, workers) as side:
        for worker in side.workers():
            warm(side, worker)
        time.sleep(1)  # what the last requests left is freed by then, on both sides
        if len(side.workers()) != workers:
            raise side.failure(f"has {len(side.workers())} workers instead of {workers}")
        return sum(pss_mib(pid) for pid in (side.master.pid, *side.workers()))


def warm(side: Side, worker: int) -> None:
    # Whoever accepts first serves, and some would serve nothing: so the others are stopped meanwhile.
    siblings = [pid for pid in side.workers() if pid != worker]
    try:
        for pid in siblings:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(REQUESTS_PER_WORKER):
            side.wait_until(side.answers, f"an answer of worker {worker}")
    finally:
        for pid in siblings:
            os.kill(pid, signal.SIGCONT)


def pss_mib(pid: int) -> float:
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(field.split()[1]) for field in fields if field.startswith("Pss:")) / 1024


def measure_respawn(kills: int) -> Samples:
    """Milliseconds from kill to answer. Both sides are up all the time and are killed in turn."""
    samples: Samples = {"ours": [], "stock": []}
    with serving("ours", 1) as ours, serving("stock", 1) as stock:
        for _ in range(kills):
            for side in (ours, stock):
                samples[side.name].append(respawn_ms(side))
    return samples


def respawn_ms(side: Side) -> float:
    # A worker that ends within its first second is a crash loop to Coachman, which then waits.
    # The random part keeps the kills out of step with the masters' own timers.
    time.sleep(random.uniform(1.3, 2.3))  # see above
    (victim,) = side.workers()
    handle = os.pidfd_open(victim)
    begun = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    # What connects after its end waits in the listening socket, so only the replacement can answer.
    ended, _, _ = select.select([handle], [], [], STOP_SECONDS)
    os.close(handle)
    if not ended:
        raise side.failure(f"still has worker {victim}, {STOP_SECONDS:g} s after kill -9")
    side.wait_until(side.answers, "an answer after kill -9")
    elapsed_seconds = time.monotonic() - begun
    if victim in side.workers():
        raise side.failure(f"answered before worker {victim} was replaced")
    return elapsed_seconds * 1000


def summarise(memory: Samples, respawn: Samples) -> list[dict[str, Any]]:
    rows = []
    for measure, samples, summary in (
        ("PSS per extra worker, MiB, median", memory, statistics.median),
        ("kill -9 to answer, ms, median", respawn, statistics.median),
        ("kill -9 to answer, ms, p90", respawn, p90),
    ):
        ours, stock = summary(samples["ours"]), summary(samples["stock"])
        count = len(samples["ours"])
        rows.append(
            {"measure": measure, "ours": ours, "stock": stock, "ratio": ours / stock, "samples": count}
        )
    return rows


def p90(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=10, method="inclusive")[8] if len(samples) > 1 else samples[0]


def show(rows: list[dict[str, Any]], versions: dict[str, str]) -> None:
    table = Table("", "ours", "stock", "ours / stock", "samples")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        figures = (f"{row['ours']:.1f}", f"{row['stock']:.1f}", f"{row['ratio']:.2f}", str(row["samples"]))
        table.add_row(row["measure"], *figures)
    console = Console(highlight=False)
    console.print(table)
    console.print(", ".join(f"{name} {number}" for name, number in versions.items()))


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is refused: it must be a whole number from 1")
    return int(text)


def measure(rounds: int, kills: int) -> tuple[Samples, Samples]:
    progress = Console(stderr=True)
    with progress.status(f"Memory: {rounds} rounds of four starts"):
        memory = measure_memory(rounds)
    with progress.status(f"Respawn: {kills} kills a side"):
        return memory, measure_respawn(kills)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare Coachman with the usual deployment, as ratios.")
    parser.add_argument("--rounds", type=at_least_one, default=3, help="memory samples a side (3)")
    parser.add_argument("--kills", type=at_least_one, default=15, help="respawn samples a side (15)")
    parser.add_argument("--json", action="store_true", help="print each sample, as JSON, instead of a table")
    options = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("/proc/self/smaps_rollup is missing: this program needs Linux 4.14 or later.")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped by SIGTERM; both sides are ended."))
    try:
        memory, respawn = measure(options.rounds, options.kills)
    except BenchmarkError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("Stopped; both sides are ended.") from None
    rows = summarise(memory, respawn)
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    if options.json:
        print(json.dumps({"summary": rows, "memory": memory, "respawn": respawn, "versions": versions}))
    else:
        show(rows, versions)


if __name__ == "__main__":
    main()
