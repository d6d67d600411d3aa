"""An application with one read and one durable write, for `http_database.py`.

BENCH_DATABASE names what is below them: ours, stock, raw (aiosqlite, a cursor for each query) or none.
"""

import contextlib
import gc
import os
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import aiosqlite
import databases
from fastapi import FastAPI, Request
from pydantic import BaseModel

from durable_database import Database

KIND = os.environ.get("BENCH_DATABASE", "none")
URL = os.environ.get("SHOP_DATABASE_URL", "")
READ = "SELECT id, name, price FROM items WHERE id = :id"
WRITE = "INSERT INTO log (n) VALUES (:n)"


class Item(BaseModel):
    id: int
    name: str
    price: int


class Raw:
    """aiosqlite as it is usually written, on one connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def fetch_one(self, query: str, values: dict[str, Any]) -> Any:
        async with self._connection.execute(query, values) as cursor:
            return await cursor.fetchone()

    async def execute(self, query: str, values: dict[str, Any]) -> None:
        async with self._connection.execute(query, values):
            pass


class Nothing:
    async def fetch_one(self, query: str, values: dict[str, Any]) -> Any:
        return {"id": values["id"], "name": "Item", "price": 3}

    async def execute(self, query: str, values: dict[str, Any]) -> None: ...


def make_file(path: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)"
        )
        connection.execute("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, n INTEGER)")
        connection.execute("INSERT OR REPLACE INTO items VALUES (1, 'Item', 3)")


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[Any]:
    path = f"{URL.removeprefix('sqlite:///')}.bench"
    make_file(path)
    if KIND == "ours":
        async with Database(f"sqlite:///{path}") as ours:
            yield ours
    elif KIND == "stock":
        async with databases.Database(f"sqlite:///{path}") as stock:
            yield stock
    elif KIND == "raw":
        async with aiosqlite.connect(path, isolation_level=None) as connection:
            connection.row_factory = sqlite3.Row
            yield Raw(connection)
    else:
        yield Nothing()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with database() as opened:
        gc.collect()
        gc.freeze()
        yield {"database": opened}


app = FastAPI(lifespan=lifespan)


@app.get("/items/{item_id}")
async def read(item_id: int, request: Request) -> Item:
    row = await request.state.database.fetch_one(READ, {"id": item_id})
    return Item(id=row["id"], name=row["name"], price=row["price"])


@app.post("/log")
async def write(request: Request) -> dict[str, str]:
    await request.state.database.execute(WRITE, {"n": 1})
    return {"status": "written"}
