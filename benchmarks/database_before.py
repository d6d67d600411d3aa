"""The data layer against that of another checkout, in the sample application: CHECKOUT as argument.

Each side runs in processes of its own, by turns, on a fresh file; ratios are of one round, and their median
counts. CPU is that of the whole process. A pause is how much later than asked a timer of 1 ms fires while
tasks read by key, scan and book: with 2 ms of rest, and without any.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
PROCESSES = 4
OPENING_SECONDS = 6.0
SCAN = "SELECT sum(n) FROM numbers"
BY_KEY = "SELECT id, n FROM numbers WHERE id = :id"
ITEMS = 20
NUMBERS = 20_000

Figures = dict[str, float]


async def client(database: Any) -> tuple[Any, Callable[[int], Awaitable[Any]]]:
    """The repository, and what books once."""
    from app.inventory.repository import Inventory
    from app.inventory.schemas import MovementCreate

    inventory = Inventory(database)
    new = MovementCreate(delta=1, reason="receipt")
    return inventory, lambda n: inventory.book_movement(n % ITEMS + 1, new, f"{os.getpid()}-{n}")


async def fill(database: Any) -> None:
    from app.inventory.schemas import ItemCreate

    inventory, _ = await client(database)
    for n in range(ITEMS):
        await inventory.create_item(ItemCreate(sku=f"SKU-{n}", name=f"Item {n}"))
    await database.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER)")
    await database.execute_many("INSERT INTO numbers (n) VALUES (:n)", [{"n": n} for n in range(NUMBERS)])


async def books(database: Any, begin: float, seconds: float, tasks: int) -> list[float]:
    _, book = await client(database)
    took: list[float] = []

    async def run(number: int) -> None:
        done = 0
        while (started := time.time()) < begin + seconds:
            await book(number * 1_000_000 + done)
            done += 1
            took.append(time.time() - started)

    await asyncio.sleep(max(0.0, begin - time.time()))
    await asyncio.gather(*(run(number) for number in range(tasks)))
    return took


async def booking(database: Any, begin: float, seconds: float, tasks: int = 1) -> Figures:
    await books(database, time.time(), 0.3, tasks)
    cpu = time.process_time()
    took = await books(database, time.time(), seconds, tasks)
    return {"cpu_us": (time.process_time() - cpu) / len(took) * 1e6, "per_second": len(took) / seconds}


async def bookings_of_24(database: Any, begin: float, seconds: float) -> Figures:
    return await booking(database, begin, seconds, 24)


async def processes(database: Any, begin: float, seconds: float) -> dict[str, Any]:
    return {"took": await books(database, begin, seconds, 6)}


async def read(database: Any, begin: float, seconds: float) -> Figures:
    """Also as so many times the same by sqlite3 alone."""
    raw = sqlite3.connect(str(database.url).removeprefix("sqlite:///"), isolation_level=None)
    count, figures = 5_000, {}
    for _ in range(3):  # the first time warms up
        cpu = time.process_time()
        for n in range(count):
            await database.fetch_one(BY_KEY, {"id": n % NUMBERS + 1})
        ours, cpu = time.process_time() - cpu, time.process_time()
        for n in range(count):
            cursor = raw.execute(BY_KEY, {"id": n % NUMBERS + 1})
            cursor.fetchone()
            cursor.close()
        alone = time.process_time() - cpu
        figures = {"cpu_us": ours / count * 1e6, "x_sqlite3": ours / alone}
    raw.close()
    return figures


def waited_for_cpu() -> float:
    """Seconds that this thread could have run, but others did: no pause that the data layer makes."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


async def saturated(database: Any, begin: float, seconds: float) -> Figures:
    return await pauses(database, begin, seconds, rest=0.0)


async def pauses(database: Any, begin: float, seconds: float, rest: float = 0.002) -> Figures:
    _, book = await client(database)
    end = time.monotonic() + seconds
    late: list[float] = []

    async def repeat(what: Callable[[int], Awaitable[Any]]) -> int:
        done = 0
        while time.monotonic() < end:
            await what(done)
            await asyncio.sleep(rest)
            done += 1
        return done

    async def watch() -> None:
        while (now := time.perf_counter()) and time.monotonic() < end:
            waited = waited_for_cpu()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - now - 0.001 - (waited_for_cpu() - waited))

    def by_key(n: int) -> Awaitable[Any]:
        return database.fetch_one(BY_KEY, {"id": n % NUMBERS + 1})  # type: ignore[no-any-return]

    reads = [repeat(by_key) for _ in range(4)]
    done = await asyncio.gather(
        *reads, repeat(lambda n: database.fetch_val(SCAN)), *(repeat(book) for _ in range(2)), watch()
    )
    late.sort()
    return {
        "p50_ms": late[len(late) // 2] * 1000,
        "p99.9_ms": late[int(len(late) * 0.999)] * 1000,
        "reads": sum(done[:4]) / seconds,  # type: ignore[arg-type]
        "scans": done[4] / seconds,  # type: ignore[operator]
        "books": (done[5] + done[6]) / seconds,  # type: ignore[operator]
    }


CASES = {each.__name__: each for each in (booking, bookings_of_24, processes, read, pauses, saturated)}


async def work(case: str, url: str, begin: float, seconds: float) -> None:
    from app.lifespan import open_database

    async with open_database(url) as database:
        if case == "fill":
            await fill(database)
        else:
            print(json.dumps(await CASES[case](database, begin, seconds)))


def start(checkout: Path, *arguments: str, url: str) -> subprocess.Popen[str]:
    # The old name too: checkouts before this one read that.
    settings = {"PYTHONPATH": str(checkout), "SHOP_DATABASE_URL": url, "COACHMAN_DATABASE_URL": url}
    command, environment = [sys.executable, *arguments], os.environ | settings
    return subprocess.Popen(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, text=True)


def run(checkout: Path, case: str, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a disk: /tmp may be memory
        url = f"sqlite:///{folder}/shop.db"
        child = (__file__, "--child")
        assert start(checkout, "-m", "app", "migrate", url=url).wait(60) == 0
        assert start(checkout, *child, "fill", url, "0", "0", url=url).wait(60) == 0
        begin = time.time() + OPENING_SECONDS
        count = PROCESSES if case == "processes" else 1
        arguments = (*child, case, url, str(begin), str(seconds))
        children = [start(checkout, *arguments, url=url) for _ in range(count)]
        found = [json.loads(each.communicate(timeout=seconds + 120)[0]) for each in children]
    if case != "processes":
        return dict(found[0])
    took = sorted(second for each in found for second in each["took"])
    counts = [len(each["took"]) for each in found]
    return {
        "per_second": len(took) / seconds,
        "p99.9_ms": took[int(len(took) * 0.999)] * 1000,
        "fairness": min(counts) / max(counts),
    }


def compare(before: Path, case: str, rounds: int, seconds: float) -> None:
    found: dict[Path, list[Figures]] = {HERE: [], before: []}
    for number in range(rounds):
        for side in (HERE, before) if number % 2 else (before, HERE):
            found[side].append(run(side, case, seconds))
    for name in found[HERE][0]:
        ours, theirs = ([each[name] for each in found[side]] for side in (HERE, before))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        medians = f"{statistics.median(ours):10.2f} {statistics.median(theirs):10.2f}"
        print(f"{case:<16}{name:<12}{ratio:8.3f}   here, before: {medians}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the data layer with that of another checkout.")
    parser.add_argument("before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--case", choices=CASES, action="append")
    options = parser.parse_args()
    for case in options.case or CASES:
        compare(options.before.resolve(), case, options.rounds, options.seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        case, url, begin, seconds = sys.argv[2:]
        asyncio.run(work(case, url, float(begin), float(seconds)))
    else:
        main()
