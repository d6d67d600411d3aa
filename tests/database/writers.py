"""A process that writes until it is killed, and reports each write once it is acknowledged."""

import asyncio
import itertools
import os
from pathlib import Path

import sqlalchemy as sa

from durable_database import Database

MOVE = "INSERT INTO movements (key, delta) VALUES (:key, :delta)"
STOCK = "UPDATE stock SET quantity = quantity + :delta"
TASKS = 6


async def single(database: Database, key: str) -> None:
    """A trigger keeps the stock: one statement, which shares its commit with others."""
    await database.execute("INSERT INTO booked (key, delta) VALUES (:key, 1)", {"key": key})


async def batch(database: Database, key: str) -> None:
    await database.batch([(MOVE, {"key": key, "delta": 2}), (STOCK, {"delta": 2})])


async def transaction(database: Database, key: str) -> None:
    async with database.transaction():
        quantity = await database.fetch_val("SELECT quantity FROM stock")
        await database.execute(MOVE, {"key": key, "delta": 3})
        await database.execute("UPDATE stock SET quantity = :quantity", {"quantity": quantity + 3})


def move(connection: sa.Connection, key: str) -> None:
    quantity = connection.execute(sa.text("SELECT quantity FROM stock")).scalar_one()
    connection.execute(sa.text(MOVE), {"key": key, "delta": 4})
    connection.execute(sa.text("UPDATE stock SET quantity = :quantity"), {"quantity": quantity + 4})


async def function(database: Database, key: str) -> None:
    await database.write(move, key)


async def client(database: Database, name: str) -> None:
    for n, write in enumerate(itertools.cycle((single, batch, transaction, function))):
        key = f"{name}-{n}"
        await write(database, key)
        os.write(1, f"{key}\n".encode())  # unbuffered: what was reported survives the kill


async def main(url: str, name: str) -> None:
    async with Database(url) as database:
        await asyncio.gather(*(client(database, f"{name}-{n}") for n in range(TASKS)))


def write(url: str, name: str, acknowledged: Path, complaints: Path) -> None:
    """Runs in a process of its own. A line in `acknowledged` is one acknowledged movement."""
    for file, descriptor in ((acknowledged, 1), (complaints, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    asyncio.run(main(url, name))
