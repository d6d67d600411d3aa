"""Usage: python benchmarks/postgresql.py postgresql://...

Compares, on an empty database: stock `databases`, ours, and asyncpg's pool by hand. Each operation runs with
16 tasks, the three in turn, and the ratios are of the medians of the rounds.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import databases
import sqlalchemy as sa

from durable_database import Database

TASKS, ROUNDS, SECONDS, SIZE = 16, 5, 0.6, 5
TABLE = "CREATE TABLE bench (id bigserial PRIMARY KEY, n bigint, name text)"
bench = sa.Table("bench", sa.MetaData(), *(sa.Column(name, sa.BigInteger) for name in ("id", "n")))
ROWS = [{"n": n} for n in range(100)]
READ, WRITE = "SELECT id, n, name FROM bench WHERE id = :id", "INSERT INTO bench (n) VALUES (:n)"
STATIC = sa.select(bench).where(bench.c.id == sa.bindparam("wanted"))
# The criteria: at least so many times stock, and by hand.
CRITERIA = {
    "fetch_one": (1.4, 0.75),
    "fetch_one, Core": (2.0, None),
    "the same, built": (None, None),
    "execute_many 100": (15.0, 0.7),
}

Operation = Callable[[], Awaitable[Any]]


def built() -> sa.Select[Any]:
    """As a request does that does not keep its statement."""
    return sa.select(bench).where(bench.c.id == 7)


def operations(database: databases.Database) -> dict[str, Operation]:
    return {
        "fetch_one": lambda: database.fetch_one(READ, {"id": 7}),
        "fetch_one, Core": lambda: (
            database.fetch_one(STATIC, {"wanted": 7})
            if isinstance(database, Database)  # stock takes no values for a Core SELECT
            else database.fetch_one(built())
        ),
        "the same, built": lambda: database.fetch_one(built()),
        "execute_many 100": lambda: database.execute_many(WRITE, ROWS),
    }


def by_hand(pool: asyncpg.Pool) -> dict[str, Operation]:
    many = [(row["n"],) for row in ROWS]
    return {
        "fetch_one": lambda: pool.fetchrow("SELECT id, n, name FROM bench WHERE id = $1", 7),
        "fetch_one, Core": lambda: pool.fetchrow("SELECT id, n FROM bench WHERE id = $1", 7),
        "the same, built": lambda: pool.fetchrow("SELECT id, n FROM bench WHERE id = $1", 7),
        "execute_many 100": lambda: pool.executemany("INSERT INTO bench (n) VALUES ($1)", many),
    }


async def per_second(operation: Operation) -> float:
    started = time.perf_counter()

    async def client() -> int:
        done = 0
        while time.perf_counter() - started < SECONDS:
            await operation()
            done += 1
        return done

    done = sum(await asyncio.gather(*(client() for _ in range(TASKS))))
    return done / (time.perf_counter() - started)


async def main(url: str) -> None:
    async with (
        databases.Database(url, min_size=SIZE, max_size=SIZE) as stock,
        Database(url, size=SIZE) as ours,
        asyncpg.create_pool(url, min_size=SIZE, max_size=SIZE) as pool,
    ):
        await pool.execute(TABLE)
        await pool.executemany("INSERT INTO bench (n, name) VALUES ($1, 'x')", [(n,) for n in range(100)])
        sides = [operations(stock), operations(ours), by_hand(pool)]
        print(f"{'operation':<18} {'stock':>8} {'by hand':>8}")
        for name, criteria in CRITERIA.items():
            rounds = [[await per_second(side[name]) for side in sides] for _ in range(ROUNDS)]
            await pool.execute("DELETE FROM bench WHERE id > 100")
            of_stock, ours_, of_hand = map(statistics.median, zip(*rounds, strict=True))
            ratios = (ours_ / of_stock, ours_ / of_hand)
            met = all(ratio >= least for ratio, least in zip(ratios, criteria, strict=True) if least)
            verdict = "" if criteria == (None, None) else "met" if met else "not met"
            print(f"{name:<18} {ratios[0]:>8.2f} {ratios[1]:>8.2f}  {verdict}")
        await pool.execute("DROP TABLE bench")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
