"""Four processes that write one SQLite file, and reads beside a slow statement: `make bench-processes`.

Ours beside what is written by hand: a connection held by each process, with SQLite's own busy timeout. Both
in WAL mode with synchronous=FULL, by turns, a fresh file each time. Ratios are of one round and their median
counts; the tails are of all rounds together. Fairness: what the slowest process got done for what the
fastest did.
"""

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import aiosqlite
import sqlalchemy as sa
from database import INSERT, ONE, Database, new_file, wanted

PROCESSES = 4
OPENING_SECONDS = 1.5  # for all processes to open the file
TASKS = {"insert": 8, "transaction": 4, "function": 4, "read beside slow": 4}
SLOW = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT count(*) FROM n"
UPDATE = "UPDATE items SET price = price + 1 WHERE id = :id"
BOOK_READ, BOOK_UPDATE, BOOK_INSERT = (sa.text(sql) for sql in (ONE, UPDATE, INSERT))


class Held:
    """One connection, as it is usually kept."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection, self._lock = connection, asyncio.Lock()

    async def execute(self, query: str, values: dict[str, Any] | None = None) -> Any:
        return await self._connection.execute_fetchall(query, values or {})

    fetch_one = fetch_val = execute

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._lock:
            await self.execute("BEGIN IMMEDIATE")
            yield
            await self.execute("COMMIT")


@contextlib.asynccontextmanager
async def opened(kind: str, path: str) -> AsyncIterator[Any]:
    if kind == "ours":
        async with Database(f"sqlite:///{path}") as database:
            yield database
        return
    async with aiosqlite.connect(path, isolation_level=None, timeout=30) as connection:
        await connection.execute_fetchall("PRAGMA synchronous=FULL")
        yield Held(connection)


def book(connection: sa.Connection, number: int) -> None:
    connection.execute(BOOK_READ, wanted(number)).one()
    connection.execute(BOOK_UPDATE, wanted(number))
    connection.execute(BOOK_INSERT, {"n": number})


async def once(database: Any, case: str, number: int) -> None:
    if case == "insert":
        await database.execute(INSERT, {"n": number})
    elif case == "function" and isinstance(database, Database):
        await database.write(book, number)
    elif case in ("transaction", "function"):
        async with database.transaction():
            await database.fetch_one(ONE, wanted(number))
            await database.execute(UPDATE, wanted(number))
            await database.execute(INSERT, {"n": number})
    else:
        await database.fetch_one(ONE, wanted(number))


async def repeat_slow(database: Any) -> None:
    while True:
        await database.fetch_val(SLOW)


def work(kind: str, case: str, path: str, begin: float, seconds: float) -> list[float]:
    """Runs in a process of its own: seconds that each operation took."""
    return asyncio.run(_work(kind, case, path, begin, seconds))


async def _work(kind: str, case: str, path: str, begin: float, seconds: float) -> list[float]:
    took: list[float] = []

    async def client(number: int) -> None:
        while (started := time.time()) < begin + seconds:
            await once(database, case, number * 7919 + len(took))
            took.append(time.time() - started)

    async with opened(kind, path) as database:
        slow = asyncio.create_task(repeat_slow(database)) if case == "read beside slow" else None
        await asyncio.sleep(max(0.0, begin - time.time()))
        await asyncio.gather(*(client(number) for number in range(TASKS[case])))
        if slow is not None:
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)
    return took


class Round(NamedTuple):
    took: list[float]
    per_second: float
    fairness: float


def measure(pool: ProcessPoolExecutor, kind: str, case: str, seconds: float) -> Round:
    processes = 1 if case == "read beside slow" else PROCESSES
    with tempfile.TemporaryDirectory() as folder:
        path, begin = new_file(folder, kind), time.time() + OPENING_SECONDS
        jobs = [pool.submit(work, kind, case, path, begin, seconds) for _ in range(processes)]
        found = [job.result(seconds + 120) for job in jobs]
    counts = [len(took) for took in found]
    return Round(list(itertools.chain.from_iterable(found)), sum(counts) / seconds, min(counts) / max(counts))


def percentile(rounds: list[Round], share: float) -> float:
    took = sorted(second for each in rounds for second in each.took)
    return took[min(int(len(took) * share), len(took) - 1)]


class Bound(NamedTuple):
    what: str
    least: float = 0.0
    most: float = float("inf")


BOUNDS = {
    "insert": (Bound("throughput", least=3), Bound("p99.9", most=1 / 20), Bound("fairness", least=0.8)),
    "transaction": (Bound("throughput", least=0.7), Bound("p99.9", most=1 / 8), Bound("fairness", least=0.8)),
    "function": (Bound("throughput", least=2), Bound("p99.9", most=1 / 8), Bound("fairness", least=0.8)),
    "read beside slow": (Bound("p99", most=1 / 10),),
}


def compare(pool: ProcessPoolExecutor, case: str, rounds: int, seconds: float) -> dict[str, float]:
    found: dict[str, list[Round]] = {"ours": [], "held": []}
    for number in range(rounds):
        for kind in ("ours", "held") if number % 2 else ("held", "ours"):
            found[kind].append(measure(pool, kind, case, seconds))
    pairs = zip(found["ours"], found["held"], strict=True)
    return {
        "throughput": statistics.median(ours.per_second / held.per_second for ours, held in pairs),
        "p99": percentile(found["ours"], 0.99) / percentile(found["held"], 0.99),
        "p99.9": percentile(found["ours"], 0.999) / percentile(found["held"], 0.999),
        "fairness": statistics.median(one.fairness for one in found["ours"]),
    }


def lines(case: str, got: dict[str, float]) -> str:
    told = []
    for what, least, most in BOUNDS[case]:
        bound = f">= {least:.3g}" if least else f"<= {most:.3g}"
        verdict = "met" if least <= got[what] <= most else "NOT MET"
        told.append(f"{case:<17}{what:<11}{got[what]:8.3f}  {bound:<9}{verdict}")
    return "\n".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the data layer with a held connection, in 4 processes."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.5] * PROCESSES))  # all are up and have imported what they need
        for case in TASKS:
            print(lines(case, compare(pool, case, options.rounds, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
