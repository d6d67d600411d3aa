"""The pool, the transactions, and what a cancellation may not break."""

import asyncio
import contextlib
import contextvars
import random
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_database import Database, PoolTimeout, sqlite_file, uninterrupted
from durable_database.sqlite import READERS, SQLiteBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a b%c.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER UNIQUE, text TEXT)")
    return path


def url_of(file: Path) -> str:
    return f"sqlite:///{str(file).replace('%', '%25')}"


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    """A connected database, all of whose lanes must be free again after the test."""
    async with Database(url_of(file), acquire_seconds=60, transaction_seconds=120) as database:
        yield database
        await all_is_free(database)


@pytest.fixture
async def hurried(file: Path) -> AsyncIterator[Database]:
    """Waits no longer than 0.5 s, which is what a test waits for."""
    async with Database(url_of(file), acquire_seconds=0.5, transaction_seconds=120) as database:
        yield database
        await all_is_free(database)


def backend_of(database: Database) -> SQLiteBackend:
    backend = database._backend
    assert isinstance(backend, SQLiteBackend)
    return backend


async def all_is_free(database: Database) -> None:
    backend = backend_of(database)
    async with asyncio.timeout(60):
        while not (backend.readers.free == READERS and backend.writer.idle):
            await asyncio.sleep(0.001)
    assert not any(lane.raw.in_transaction for lane in backend._lanes)
    assert not database._connection_map


async def insert(database: Database, n: int) -> None:
    await database.execute("INSERT INTO numbers (n) VALUES (:n)", {"n": n})


async def stored(database: Database) -> set[int]:
    return {row.n for row in await database.fetch_all("SELECT n FROM numbers")}


async def test_path_of_a_url_is_unquoted() -> None:
    assert sqlite_file("sqlite:///var/a%20b.db") == Path("var/a b.db")
    assert sqlite_file("sqlite:////var/x.db") == Path("/var/x.db")


async def test_connections_are_set_up(database: Database) -> None:
    async def pragma(name: str) -> Any:
        return await database.fetch_val(f"PRAGMA {name}")

    assert await pragma("journal_mode") == "wal"
    assert await pragma("synchronous") == 2
    assert await pragma("foreign_keys") == 1
    assert await pragma("busy_timeout") == 5000


async def test_rows_are_read_by_name_position_and_mapping(database: Database) -> None:
    await database.execute("INSERT INTO numbers (n, text) VALUES (7, 'seven')")

    row: Any = await database.fetch_one("SELECT n, text FROM numbers")

    assert (row["n"], row.n, row[0], row[-1]) == (7, 7, 7, "seven")
    assert dict(row._mapping) == {"n": 7, "text": "seven"}
    assert await database.fetch_one("SELECT n FROM numbers WHERE n = 8") is None
    assert await database.fetch_val("SELECT text FROM numbers", column="text") == "seven"


async def test_execute_returns_the_id_of_an_insert_and_the_count_of_an_update(database: Database) -> None:
    assert await database.execute("INSERT INTO numbers (id, n) VALUES (41, 1)") == 41
    assert await database.execute("INSERT INTO numbers (n) VALUES (2)") == 42
    assert await database.execute("UPDATE numbers SET text = 'x'") == 2
    assert await database.execute("DELETE FROM numbers WHERE n = 9") == 0


async def test_connections_are_opened_once(database: Database) -> None:
    before = threading.active_count()

    await asyncio.gather(*(database.fetch_val("SELECT 1") for _ in range(20)))
    await asyncio.gather(*(insert(database, n) for n in range(20)))

    assert threading.active_count() == before


async def test_failed_transaction_leaves_nothing_behind(database: Database) -> None:
    async def insert_twice() -> None:
        async with database.transaction():
            await insert(database, 1)
            await insert(database, 1)

    with pytest.raises(sqlite3.IntegrityError):
        await insert_twice()

    assert await stored(database) == set()


async def test_inner_transaction_is_undone_alone(database: Database) -> None:
    async with database.transaction():
        await insert(database, 1)
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction():
                await insert(database, 2)
                raise ZeroDivisionError
        await insert(database, 3)

    assert await stored(database) == {1, 3}


async def test_read_then_write_transactions_do_not_collide(database: Database) -> None:
    await insert(database, 0)

    async def increment() -> None:
        async with database.transaction():
            n = await database.fetch_val("SELECT n FROM numbers")
            await database.execute("UPDATE numbers SET n = :n", {"n": n + 1})

    await asyncio.gather(*(increment() for _ in range(40)))

    assert await stored(database) == {40}


async def test_waiting_for_a_connection_has_a_limit(hurried: Database) -> None:
    readers = backend_of(hurried).readers
    held = [await readers.lease() for _ in range(READERS)]

    with pytest.raises(PoolTimeout, match=r"no database connection became free in 0\.5 s"):
        async for _ in hurried.iterate("SELECT 1"):
            pass

    for lane in held:
        readers.give_back(lane)


async def test_waiting_for_the_writer_has_a_limit(hurried: Database) -> None:
    async with hurried.transaction():
        await insert(hurried, 1)
        writes = [asyncio.create_task(insert(hurried, n), context=contextvars.Context()) for n in range(2, 5)]
        results = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(result) for result in results] == [PoolTimeout] * 3
    assert await stored(hurried) == {1}


async def test_cancelled_waiter_takes_no_connection_along(database: Database) -> None:
    readers = backend_of(database).readers
    held = [await readers.lease() for _ in range(READERS)]
    waiters = [asyncio.create_task(readers.lease()) for _ in range(8)]
    await asyncio.sleep(0)
    for waiter in waiters[::2]:
        waiter.cancel()
    for lane in held:
        readers.give_back(lane)

    for waiter in waiters[1::2]:
        readers.give_back(await waiter)


async def test_cancelled_read_pins_no_old_data(database: Database) -> None:
    for n in range(100):
        await insert(database, n)
    # It would take seconds of CPU, so that it cannot end before it is cancelled.
    read = "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d WHERE a.n + b.n > c.n"
    for _ in range(8):
        task = asyncio.create_task(database.fetch_all(read))
        await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    await insert(database, 1000)

    for _ in range(8):
        assert 1000 in await stored(database)


async def test_writes_cancelled_at_random_lose_nothing_that_was_acknowledged(database: Database) -> None:
    acknowledged: set[int] = set()
    dice = random.Random(4711)

    @uninterrupted
    async def write(n: int) -> None:
        async with database.transaction():
            await database.fetch_val("SELECT count(*) FROM numbers")
            await insert(database, n)
            if n % 7 == 0:
                raise ZeroDivisionError

    async def client(numbers: range) -> None:
        # One task writes on and on, as a connection's does: a leak in one write would spoil the next.
        for n in numbers:
            with contextlib.suppress(TimeoutError, ZeroDivisionError):
                async with asyncio.timeout(dice.choice([None, dice.uniform(0, 0.02)])):
                    await write(n)
                    acknowledged.add(n)

    await asyncio.gather(*(client(range(start, 600, 12)) for start in range(12)))

    found = await stored(database)
    assert acknowledged <= found
    assert not [n for n in found if n % 7 == 0]
    assert 0 < len(acknowledged) < 600 - 600 // 7


async def test_pool_that_cannot_open_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    database = Database(f"sqlite:///{tmp_path}/missing.db")

    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await database.connect()

    async with asyncio.timeout(60):
        while threading.active_count() > before:
            await asyncio.sleep(0.001)
    assert not (tmp_path / "missing.db").exists()


async def test_disconnected_database_can_be_connected_again(file: Path) -> None:
    database = Database(url_of(file))
    for n in (1, 2):
        async with database:
            await insert(database, n)
    async with database:
        assert await stored(database) == {1, 2}
