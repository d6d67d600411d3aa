"""What `databases` 0.9.0 gets wrong: writes it loses, connections it leaks, deadlocks. Ours may not."""

import asyncio
import collections.abc
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from durable_database import Database

pytestmark = pytest.mark.anyio
OnDisk = Callable[[str], list[tuple[object, ...]]]

INSERT = "INSERT INTO entries (name, n) VALUES (:name, :n)"
SLOW = """
    WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3000000)
    SELECT count(*) FROM c
"""


async def count(database: Database) -> int:
    found: int = await database.fetch_val("SELECT count(*) FROM entries")
    return found


async def accepts_a_write(database: Database) -> bool:
    """From a new task, as the next request would be."""

    async def write() -> None:
        await database.execute(INSERT, {"name": f"later {time.monotonic()}", "n": 0})

    async with asyncio.timeout(30):
        await asyncio.create_task(write())
    return True


async def test_write_after_a_timed_out_transaction_is_durable(database: Database, on_disk: OnDisk) -> None:
    for k in range(40):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.00005 * k), database.transaction():
                await database.execute(INSERT, {"name": f"in {k}", "n": 0})
        await database.execute(INSERT, {"name": f"acknowledged {k}", "n": 1})

    assert on_disk("SELECT count(*) FROM entries WHERE n = 1") == [(40,)]


async def test_transaction_cancelled_at_any_await_leaves_nothing_behind(
    database: Database, on_disk: OnDisk
) -> None:
    async def body() -> None:
        async with database.transaction():
            await database.execute(INSERT, {"name": "never", "n": 1})
            await database.fetch_all("SELECT * FROM entries")
            raise KeyError

    for steps in range(60):
        task = asyncio.create_task(body())
        for _ in range(steps):
            await asyncio.sleep(0 if steps < 8 else 0.0002)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, KeyError):
            await task

    assert await accepts_a_write(database)
    assert on_disk("SELECT count(*) FROM entries WHERE name = 'never'") == [(0,)]


async def test_commit_that_fails_gives_the_connection_back(database: Database) -> None:
    async def orphan(n: int) -> None:
        async with database.transaction():
            await database.execute("INSERT INTO children VALUES (:n, 999)", {"n": n})

    for n in range(5):
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            await asyncio.create_task(orphan(n))

    assert await accepts_a_write(database)


async def test_deferred_constraint_fails_the_write_to_blame_alone(
    database: Database, on_disk: OnDisk
) -> None:
    writes = [database.execute("INSERT INTO parents VALUES (:n)", {"n": n}) for n in range(5)]
    orphan = database.execute("INSERT INTO children VALUES (1, 999)")

    results = await asyncio.gather(*writes[:3], orphan, *writes[3:], return_exceptions=True)

    assert [isinstance(result, Exception) for result in results] == [False] * 3 + [True] + [False] * 2
    assert on_disk("SELECT count(*) FROM parents") == [(5,)]


async def fill(database: Database, rows: int = 5) -> None:
    await database.execute_many(INSERT, [{"name": f"row {n}", "n": 1} for n in range(rows)])


async def test_body_of_iterate_may_write(database: Database, on_disk: OnDisk) -> None:
    await fill(database)

    async with asyncio.timeout(30):
        async for row in database.iterate("SELECT * FROM entries"):
            await database.execute("UPDATE entries SET n = n + 1 WHERE name = :name", {"name": row["name"]})

    assert on_disk("SELECT DISTINCT n FROM entries") == [(2,)]


async def test_body_of_iterate_inside_a_transaction_may_write(database: Database, on_disk: OnDisk) -> None:
    await fill(database, 450)

    async with asyncio.timeout(60), database.transaction():
        seen = [row["id"] async for row in database.iterate("SELECT * FROM entries ORDER BY id")]
        async for row in database.iterate("SELECT id FROM entries"):
            await database.execute("UPDATE entries SET n = n + 1 WHERE id = :id", {"id": row["id"]})

    assert len(set(seen)) == 450
    assert on_disk("SELECT DISTINCT n FROM entries") == [(2,)]


async def test_iterate_that_is_left_early_keeps_nothing(database: Database) -> None:
    await fill(database, 500)

    async def first() -> str:
        async for row in database.iterate("SELECT * FROM entries"):
            return str(row.name)
        raise AssertionError

    async with asyncio.timeout(60):
        for _ in range(20):
            assert await asyncio.create_task(first()) == "row 0"
            assert await accepts_a_write(database)


async def test_iterate_reads_one_state_of_the_database(database: Database) -> None:
    await fill(database, 1000)

    seen = 0
    async for _ in database.iterate("SELECT * FROM entries"):
        if seen == 100:
            await database.execute("DELETE FROM entries")
        seen += 1

    assert seen == 1000
    assert await count(database) == 0


async def test_child_that_writes_inside_its_parents_transaction_fails_at_once(
    database: Database, on_disk: OnDisk
) -> None:
    children: list[asyncio.Task[Any]] = []

    async def parent() -> None:
        async with database.transaction():
            await database.execute(INSERT, {"name": "parent", "n": 1})
            for n in range(2):
                child = database.execute(INSERT, {"name": f"child {n}", "n": 1})
                children.append(asyncio.create_task(child))
            await asyncio.gather(*children)

    # Sooner than `database` would give up a wait for the writer.
    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="transaction"):
            await asyncio.create_task(parent())

    assert on_disk("SELECT * FROM entries") == []
    assert await accepts_a_write(database)


async def test_transaction_may_end_in_another_task(database: Database, on_disk: OnDisk) -> None:
    async def in_a_task(step: Coroutine[Any, Any, Any]) -> None:
        await asyncio.create_task(step)

    for how in ("commit", "rollback"):
        transaction = database.transaction()
        await in_a_task(transaction.start())
        await in_a_task(getattr(transaction, how)())

    assert await accepts_a_write(database)


async def test_execute_answers_an_id_for_inserts_and_else_a_count(database: Database) -> None:
    async with database.connection():
        first = await database.execute(INSERT, {"name": "a", "n": 1})
        second = await database.execute(INSERT, {"name": "b", "n": 1})
        both = await database.execute("UPDATE entries SET n = 7")
        none = await database.execute("DELETE FROM entries WHERE id = 12345")

    assert (first, second, both, none) == (1, 2, 2, 0)


async def test_execute_many_is_all_or_nothing(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.execute_many(INSERT, [{"name": name, "n": 1} for name in "abca"])

    assert await count(database) == 0

    async with database.transaction():
        await database.execute(INSERT, {"name": "kept", "n": 1})
        with pytest.raises(Exception, match=r"(?i)unique"):
            await database.execute_many(INSERT, [{"name": name, "n": 1} for name in "abca"])

    assert await count(database) == 1


async def test_batch_is_all_or_nothing_and_answers_for_each(database: Database) -> None:
    good = await database.batch(
        [(INSERT, {"name": "a", "n": 1}), (INSERT, {"name": "b", "n": 1}), ("UPDATE entries SET n = 2", None)]
    )
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.batch([("UPDATE entries SET n = 9", None), (INSERT, {"name": "a", "n": 1})])

    assert good == [1, 2, 2]
    assert await database.fetch_val("SELECT max(n) FROM entries") == 2


@pytest.mark.timing
@pytest.mark.parametrize("known", [True, False])
async def test_caller_of_a_slow_query_leaves_when_cancelled_and_others_read_on(
    database: Database, known: bool
) -> None:
    started = time.monotonic()
    await database.fetch_val(SLOW)
    seconds = time.monotonic() - started
    sql = SLOW if known else f"{SLOW} -- a statement of which nothing is known yet"

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds / 10):
            await database.fetch_val(sql)
    assert await database.fetch_val("SELECT 1") == 1

    assert time.monotonic() - started < seconds / 2


async def test_mapping_of_a_row_is_a_mapping(database: Database) -> None:
    await fill(database, 1)

    row = await database.fetch_one("SELECT id, name FROM entries")

    assert isinstance(row._mapping, collections.abc.Mapping)
    assert {**row._mapping} == {"id": 1, "name": "row 0"}
    assert (row["name"], row[1], row.name, tuple(row)) == ("row 0", "row 0", "row 0", (1, "row 0"))


async def test_static_core_statement_takes_its_values_with_the_call(database: Database) -> None:
    await fill(database)
    entries = sa.table("entries", sa.column("id"), sa.column("name"))
    by_name = sa.select(entries).where(entries.c.name == sa.bindparam("wanted"))

    found = [await database.fetch_one(by_name, {"wanted": f"row {n}"}) for n in range(5)]

    assert [row[entries.c.name] for row in found] == [f"row {n}" for n in range(5)]


async def test_decorated_function_gets_a_transaction_for_each_call(database: Database) -> None:
    @database.transaction()
    async def write(n: int) -> None:
        await database.execute(INSERT, {"name": f"call {n}", "n": n})
        await asyncio.sleep(0)
        if n % 2:
            raise KeyError

    await asyncio.gather(*(write(n) for n in range(10)), return_exceptions=True)

    assert await database.fetch_val("SELECT sum(n) FROM entries") == 0 + 2 + 4 + 6 + 8


async def test_database_connected_before_a_fork_refuses_in_the_child(database: Database) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(asyncio.run(database.fetch_val("SELECT 1")))
        except BaseException as error:  # noqa: BLE001
            answer = str(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)

    with os.fdopen(reading) as pipe:
        assert "connect in each" in pipe.read()
    assert await database.fetch_val("SELECT 1") == 1


async def test_url_with_a_query_is_refused_and_makes_no_file_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give options as keywords"):
        Database(f"sqlite:///{tmp_path}/x.db?timeout=20")

    assert list(tmp_path.iterdir()) == []


async def test_read_then_write_transactions_do_not_collide(database: Database) -> None:
    await database.execute(INSERT, {"name": "counter", "n": 0})

    async def increment() -> None:
        for _ in range(10):
            async with database.transaction():
                n = await database.fetch_val("SELECT n FROM entries")
                await database.execute("UPDATE entries SET n = :n", {"n": n + 1})

    await asyncio.gather(*(increment() for _ in range(16)))

    assert await database.fetch_val("SELECT n FROM entries") == 160


async def test_execute_many_of_rows_with_different_columns_sets_those(database: Database) -> None:
    entries = sa.table("entries", sa.column("id"), sa.column("name"), sa.column("n"))

    await database.execute_many(entries.insert(), [{"id": 1, "n": 5}, {"id": 2, "name": "b"}])

    rows = await database.fetch_all("SELECT id, name, n FROM entries ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, None, 5), (2, "b", 0)]
