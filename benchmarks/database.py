"""The data layer against stock `databases` and hand-written aiosqlite: `make bench-database`.

All three work on SQLite files of their own, in WAL mode with synchronous=FULL, in one process on one CPU,
by turns: only the ratios of one round are compared, and their median is what counts.
"""

import argparse
import asyncio
import contextlib
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite
import databases
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from durable_database import Database

ITEMS = sa.table("items", *(sa.column(name) for name in ("id", "name", "price")))
STATIC = sa.select(ITEMS).where(ITEMS.c.id == sa.bindparam("wanted"))
ONE = "SELECT id, name, price FROM items WHERE id = :id"
TWENTY = "SELECT id, name, price FROM items WHERE id > :id ORDER BY id LIMIT 20"
ALL = "SELECT id, name, price FROM items LIMIT 500"
INSERT = "INSERT INTO log (n) VALUES (:n)"
ROWS = 1000

Operation = Callable[[Any, int], Awaitable[object]]


def wanted(n: int) -> dict[str, int]:
    return {"id": n % ROWS + 1}


async def drain(rows: AsyncIterator[Any]) -> None:
    async for _ in rows:
        pass


async def raw_write(raw: aiosqlite.Connection, n: int) -> None:
    await raw.execute_fetchall(INSERT, {"n": n})


async def raw_transaction(raw: aiosqlite.Connection, many: bool, n: int) -> None:
    async with raw_lock(raw):
        await raw.execute_fetchall("BEGIN IMMEDIATE")
        if many:
            await raw.executemany(INSERT, [{"n": n}] * 100)
        else:
            for _ in range(3):
                await raw.execute_fetchall(INSERT, {"n": n})
        await raw.execute_fetchall("COMMIT")


_locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)


def raw_lock(raw: aiosqlite.Connection) -> asyncio.Lock:
    """One connection carries one transaction."""
    return _locks[id(raw)]


async def raw_iterate(raw: aiosqlite.Connection, n: int) -> None:
    async with raw.execute(ALL) as cursor:
        await drain(cursor)


OURS: dict[str, Operation] = {
    "fetch_one text": lambda db, n: db.fetch_one(ONE, wanted(n)),
    "fetch_one Core, static": lambda db, n: db.fetch_one(STATIC, {"wanted": n % ROWS + 1}),
    "fetch_one Core, built": lambda db, n: db.fetch_one(sa.select(ITEMS).where(ITEMS.c.id == n % ROWS + 1)),
    "fetch_all 20 rows": lambda db, n: db.fetch_all(TWENTY, wanted(n)),
    "iterate 500 rows": lambda db, n: drain(db.iterate(ALL)),
    "insert": lambda db, n: db.execute(INSERT, {"n": n}),
    "execute_many 100": lambda db, n: db.execute_many(INSERT, [{"n": n}] * 100),
    "batch of 3": lambda db, n: db.batch([(INSERT, {"n": n})] * 3),
}
# Stock refuses values for a SELECT and has no batch.
STOCK = {
    **OURS,
    "fetch_one Core, static": OURS["fetch_one Core, built"],
    "batch of 3": None,
}
RAW: dict[str, Operation] = {
    "fetch_one text": lambda raw, n: raw.execute_fetchall(ONE, wanted(n)),
    "fetch_one Core, static": lambda raw, n: raw.execute_fetchall(ONE, wanted(n)),
    "fetch_one Core, built": lambda raw, n: raw.execute_fetchall(ONE, wanted(n)),
    "fetch_all 20 rows": lambda raw, n: raw.execute_fetchall(TWENTY, wanted(n)),
    "iterate 500 rows": raw_iterate,
    "insert": raw_write,
    "execute_many 100": lambda raw, n: raw_transaction(raw, True, n),
    "batch of 3": lambda raw, n: raw_transaction(raw, False, n),
}


@dataclass(frozen=True)
class Criterion:
    """At these numbers of tasks: at least so many times stock, and raw aiosqlite; 0 asks nothing."""

    operation: str
    tasks: tuple[int, ...]
    stock: float = 0
    raw: float = 0


CRITERIA = (
    Criterion("fetch_one text", (1,), 10, 0.65),
    Criterion("fetch_one text", (16, 64), 30, 1.1),
    Criterion("fetch_one Core, static", (16, 64), 0, 0.85),
    Criterion("fetch_one Core, built", (16, 64), 12, 0),
    Criterion("fetch_all 20 rows", (16, 64), 0, 1.1),
    Criterion("iterate 500 rows", (16,), 3, 0.85),
    Criterion("insert", (1,), 0, 0.8),
    Criterion("insert", (16,), 0, 5),
    Criterion("insert", (64,), 0, 10),
    Criterion("execute_many 100", (16,), 40, 1.3),
    Criterion("batch of 3", (1,), 0, 1.3),
    Criterion("batch of 3", (16,), 0, 7),
)


async def rate(side: Any, operation: Operation, tasks: int, seconds: float) -> tuple[float, float]:
    """Operations in a second, and CPU microseconds for each."""
    end = time.perf_counter() + seconds
    counts = [0] * tasks

    async def client(number: int) -> None:
        # In stock databases writers find the file locked by each other; such a try counts as none.
        while time.perf_counter() < end:
            with contextlib.suppress(sqlite3.OperationalError):
                await operation(side, number * 7919 + counts[number])
                counts[number] += 1

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(number) for number in range(tasks)))
    done = max(sum(counts), 1)
    return done / (time.perf_counter() - started), (time.process_time() - cpu) / done * 1e6


def new_file(folder: str, name: str) -> str:
    path = f"{folder}/{name}.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)")
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, n INTEGER)")
        rows = [(n, f"Item {n}", n * 3) for n in range(1, ROWS + 1)]
        connection.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
    return path


@contextlib.asynccontextmanager
async def sides(folder: str) -> AsyncIterator[list[tuple[str, Any, dict[str, Any]]]]:
    async with (
        Database(f"sqlite:///{new_file(folder, 'ours')}") as ours,
        databases.Database(f"sqlite:///{new_file(folder, 'stock')}", timeout=1) as stock,
        aiosqlite.connect(new_file(folder, "raw"), isolation_level=None, cached_statements=512) as raw,
    ):
        await raw.execute_fetchall("PRAGMA synchronous=FULL")
        yield [("ours", ours, OURS), ("stock", stock, STOCK), ("raw", raw, RAW)]


async def measure(criterion: Criterion, tasks: int, rounds: int, seconds: float) -> dict[str, list[Any]]:
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        async with sides(folder) as everyone:
            for number in range(rounds):
                turn = number % len(everyone)
                for name, side, operations in everyone[turn:] + everyone[:turn]:
                    if (operation := operations[criterion.operation]) is not None:
                        found[name].append(await rate(side, operation, tasks, seconds))
    return found


def ratio(found: dict[str, list[Any]], other: str) -> float:
    if other not in found:
        return float("nan")
    pairs = zip(found["ours"], found[other], strict=True)
    return statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)


def line(criterion: Criterion, tasks: int, found: dict[str, list[Any]]) -> str:
    cells = [f"{criterion.operation:<24}{tasks:>5}"]
    met = True
    for other, least in (("stock", criterion.stock), ("raw", criterion.raw)):
        got = ratio(found, other)
        met = met and (not least or got >= least)
        cells.append(f"{got:8.2f} {f'>= {least:g}' if least else '':<8}")
    cpu = [statistics.median(each[1] for each in found[name]) for name in ("ours", "raw")]
    cells.append(f"{cpu[0]:7.0f} {cpu[1]:7.0f}  {'met' if met else 'NOT MET'}")
    return " ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the data layer with stock databases and aiosqlite.")
    parser.add_argument("--quick", action="store_true", help="three short rounds: a look, not a result")
    quick = parser.parse_args().quick
    rounds, seconds = (3, 0.2) if quick else (5, 0.7)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'operation':<24}tasks  x stock            x raw             us: ours     raw")
    for criterion in CRITERIA:
        for tasks in criterion.tasks:
            found = asyncio.run(measure(criterion, tasks, rounds, seconds))
            print(line(criterion, tasks, found), flush=True)


if __name__ == "__main__":
    main()
