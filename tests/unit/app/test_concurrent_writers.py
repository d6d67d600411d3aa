"""Several processes on one file: what the stock and the keys must withstand."""

import asyncio
import subprocess
import sys
from collections import Counter

from app.inventory.repository import Inventory
from app.inventory.schemas import ItemCreate
from durable_database import Database

# Argument 1 is the database, 2 the item, 3 this process's number.
BOOK = """
import asyncio, random, sys
from durable_database import Database
from app.inventory.errors import NotEnoughStock
from app.inventory.repository import Inventory
from app.inventory.schemas import MovementCreate

async def main(url, item_id, number):
    dice = random.Random(number)
    # On PostgreSQL all wait for one row, and for the connections of those that wait.
    async with Database(url, acquire_seconds=50) as database:
        inventory = Inventory(database)
        async def book(n):
            delta = dice.choice([-3, -2, -1, 1, 2, 3])
            try:
                await inventory.book_movement(item_id, MovementCreate(delta=delta, reason="correction"), None)
            except NotEnoughStock:
                return 0
            return 1
        async def book_once(n):
            movement = MovementCreate(delta=1, reason="receipt")
            return (await inventory.book_movement(item_id, movement, f"key-{n}"))[1]
        booked = sum(await asyncio.gather(*(book(n) for n in range(60))))
        replayed = sum(await asyncio.gather(*(book_once(n) for n in range(20))))
        print(booked, replayed)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


async def new_item(url: str) -> int:
    async with Database(url) as database:
        return (await Inventory(database).create_item(ItemCreate(sku="T-1", name="Tea"))).id


async def booked_movements(url: str) -> tuple[int, list[tuple[int, int, str | None]]]:
    async with Database(url) as database:
        quantity: int = await database.fetch_val("SELECT quantity FROM items")
        rows = await database.fetch_all("SELECT delta, quantity, idempotency_key FROM movements ORDER BY id")
        return quantity, [tuple(row._mapping.values()) for row in rows]  # type: ignore[misc]


def test_movements_of_four_processes_add_up_and_each_key_books_once(database_url: str) -> None:
    item_id = asyncio.run(new_item(database_url))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BOOK, database_url, str(item_id), str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert not any(process.returncode for process in processes), outputs
    booked, replayed = (
        sum(column) for column in zip(*(map(int, out.split()) for out, _ in outputs), strict=True)
    )

    quantity, movements = asyncio.run(booked_movements(database_url))

    assert quantity == sum(delta for delta, _, _ in movements)
    stock = 0
    for delta, after, _ in movements:
        stock += delta
        assert after == stock >= 0
    keys = Counter(key for _, _, key in movements if key)
    assert keys == {f"key-{n}": 1 for n in range(20)}
    assert len(movements) == booked + 20
    assert replayed == 3 * 20
