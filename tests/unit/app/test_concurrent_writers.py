"""Several processes on one file: what the stock and the keys must withstand."""

import asyncio
import subprocess
import sys
from collections import Counter

from app.inventory.repository import Inventory
from app.inventory.schemas import ItemCreate
from durable_database import Database

# Forks four processes once all is imported, so that they write at once. Arguments: the database and
# the item's id.
BOOK = """
import asyncio, os, random, sys
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
        os.write(1, f"{booked} {replayed}\\n".encode())

wait, start = os.pipe()  # reading ends when the parent closes its end
for number in range(4):
    if not os.fork():
        os.close(start)
        os.read(wait, 1)
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), number))
        os._exit(0)
os.close(start)
sys.exit(any(os.waitpid(-1, 0)[1] for _ in range(4)))
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
    done = subprocess.run(
        [sys.executable, "-c", BOOK, database_url, str(item_id)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    lines = [map(int, line.split()) for line in done.stdout.splitlines()]
    booked, replayed = (sum(column) for column in zip(*lines, strict=True))

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
