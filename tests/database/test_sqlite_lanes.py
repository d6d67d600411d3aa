"""What only the SQLite backend has: the gate, group commit, the hot lane; and the internals it leans on."""

import asyncio
import contextlib
import contextvars
import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from durable_database import Database, PoolTimeout, TransactionTimeout
from durable_database.sqlite import READERS
from durable_database.statements import Compiler, Want
from durable_database.transaction import OpenTransaction
from tests.support.databases import query

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO entries (n) VALUES (:n)"
ENDLESS = """
    WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000)
    SELECT count(*) FROM c
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "entries.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE entries (id INTEGER PRIMARY KEY, n INTEGER UNIQUE)")
    return path


@pytest.fixture
def observed() -> list[tuple[str, float]]:
    return []


@pytest.fixture
async def lanes(file: Path, observed: list[tuple[str, float]]) -> AsyncIterator[Database]:
    """Its limits are out of reach, also on a machine that is busy with others."""
    async with Database(
        f"sqlite:///{file}",
        acquire_seconds=60,
        transaction_seconds=120,
        observe=lambda *measure: observed.append(measure),
    ) as database:
        yield database


@pytest.fixture
async def hurried(file: Path) -> AsyncIterator[Database]:
    """Its limits are what a test waits for, and what a busy machine may reach without cause."""
    async with Database(f"sqlite:///{file}", acquire_seconds=0.5, transaction_seconds=1.0) as database:
        yield database


@pytest.fixture
async def brief(file: Path) -> AsyncIterator[Database]:
    """Only its transactions have a limit within reach."""
    async with Database(f"sqlite:///{file}", acquire_seconds=60, transaction_seconds=1.0) as database:
        yield database


async def insert_at_last(database: Database, n: int) -> None:
    """Inserts `n`, however often a busy machine makes it wait longer than the limit."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(PoolTimeout, TransactionTimeout):
                await database.execute(INSERT, {"n": n})
                return


@pytest.fixture
def gate_is_kept(file: Path, hurried: Database) -> Iterator[None]:
    """As by another worker that was stopped in the middle of a commit."""
    kept = os.open(f"{file}.gate", os.O_RDWR)
    fcntl.flock(kept, fcntl.LOCK_EX)
    yield
    os.close(kept)


async def ns(database: Database) -> list[int]:
    return [row.n for row in await database.fetch_all("SELECT n FROM entries ORDER BY n")]


async def test_writes_that_come_together_are_one_commit_and_a_bad_one_fails_alone(
    lanes: Database, observed: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_database.writer.QUANTUM_SECONDS", 60)  # else a busy machine ends the commit
    await lanes.execute(INSERT, {"n": 7})
    results = await asyncio.gather(
        *(lanes.execute(INSERT, {"n": n}) for n in range(10)), return_exceptions=True
    )

    assert [type(result) for result in results].count(sqlite3.IntegrityError) == 1
    assert isinstance(results[7], sqlite3.IntegrityError)
    assert await ns(lanes) == list(range(10))
    assert max(value for name, value in observed if name == "batch_size") >= 9
    async with asyncio.timeout(60):
        while not any(name == "wal_bytes" and value > 0 for name, value in observed):
            await asyncio.sleep(0.01)
    assert any(name == "gate_wait_seconds" for name, _ in observed)


async def test_batch_is_stored_all_or_not_at_all(lanes: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        await lanes.batch([(INSERT, {"n": 1}), (INSERT, {"n": 2}), (INSERT, {"n": 1})])
    assert await ns(lanes) == []

    update = "UPDATE entries SET n = n + 10"
    assert await lanes.batch([(INSERT, {"n": 1}), (INSERT, {"n": 2}), (update, None)]) == [1, 2, 2]
    assert await ns(lanes) == [11, 12]


async def test_failed_batch_in_a_transaction_takes_back_only_itself(lanes: Database) -> None:
    async with lanes.transaction():
        await lanes.execute(INSERT, {"n": 1})
        with contextlib.suppress(sqlite3.IntegrityError):
            await lanes.batch([(INSERT, {"n": 2}), (INSERT, {"n": 1})])
        await lanes.execute(INSERT, {"n": 3})

    assert await ns(lanes) == [1, 3]


@pytest.mark.usefixtures("gate_is_kept")
async def test_gate_that_a_stopped_worker_keeps_bounds_the_waits_and_lets_reads_pass(
    hurried: Database,
) -> None:
    async def in_a_transaction() -> None:
        async with hurried.transaction():
            await hurried.execute(INSERT, {"n": 2})

    async with asyncio.timeout(60):
        results = await asyncio.gather(
            hurried.execute(INSERT, {"n": 1}), in_a_transaction(), return_exceptions=True
        )

    assert [type(result) for result in results] == [PoolTimeout, PoolTimeout]
    assert await ns(hurried) == []


async def test_write_that_was_given_up_at_the_gate_is_not_made_later(file: Path, hurried: Database) -> None:
    kept = os.open(f"{file}.gate", os.O_RDWR)
    fcntl.flock(kept, fcntl.LOCK_EX)
    with pytest.raises(PoolTimeout):
        await hurried.execute(INSERT, {"n": 1})
    os.close(kept)

    await insert_at_last(hurried, 2)

    assert await ns(hurried) == [2]


async def test_transaction_that_lasts_too_long_is_rolled_back_and_others_write(brief: Database) -> None:
    async def linger() -> None:
        async with brief.transaction():
            await brief.execute(INSERT, {"n": 1})
            await asyncio.sleep(1.3)

    with pytest.raises(TransactionTimeout, match="was open for 1 s"):
        await linger()

    await insert_at_last(brief, 2)
    assert await ns(brief) == [2]


async def test_slow_statement_holds_up_no_quick_one(lanes: Database) -> None:
    slow = [asyncio.create_task(lanes.fetch_val(ENDLESS)) for _ in range(2)]
    for _ in range(20):
        await lanes.fetch_val("SELECT 1")
        await lanes.fetch_val("SELECT count(*) FROM entries")

    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.wait(slow)


async def test_read_transaction_sees_one_state_and_keeps_nobody_from_writing(lanes: Database) -> None:
    async def write() -> None:
        await lanes.execute(INSERT, {"n": 1})

    async with lanes.transaction(readonly=True):
        before = await ns(lanes)
        await asyncio.create_task(write())
        assert await ns(lanes) == before == []
    assert await ns(lanes) == [1]


async def test_statement_after_the_transaction_was_rolled_back_is_refused(lanes: Database) -> None:
    async def write() -> None:
        async with lanes.transaction():
            await lanes.execute(INSERT, {"n": 1})
            with contextlib.suppress(sqlite3.IntegrityError):
                await lanes.execute("INSERT OR ROLLBACK INTO entries (n) VALUES (1)")
            await lanes.execute(INSERT, {"n": 2})

    with pytest.raises(sqlite3.OperationalError, match="rolled back by an earlier error"):
        await write()
    assert await ns(lanes) == []


async def test_begin_of_ones_own_is_refused_and_swallows_no_later_write(lanes: Database, file: Path) -> None:
    for sql in ("BEGIN", " -- end it\n COMMIT", "ROLLBACK", "END"):
        with pytest.raises(RuntimeError, match="is not to be called here, where writes share a commit"):
            await lanes.execute(sql)
    await lanes.execute(INSERT, {"n": 1})

    with contextlib.closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT n FROM entries").fetchall() == [(1,)]


async def test_write_that_begins_with_WITH_is_found_out(lanes: Database) -> None:  # noqa: N802
    for n in (1, 2):
        await lanes.execute(f"WITH new (n) AS (SELECT {n}) INSERT INTO entries (n) SELECT n FROM new")

    assert await ns(lanes) == [1, 2]


async def test_aiosqlite_has_the_internals_that_a_lane_uses(file: Path) -> None:
    async with aiosqlite.connect(file) as connection:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        internals: Any = connection

        internals._tx.put_nowait((None, lambda: loop.call_soon_threadsafe(done.set)))

        await asyncio.wait_for(done.wait(), 60)
        assert isinstance(internals._conn, sqlite3.Connection)
        assert internals._thread.is_alive()


def test_sqlalchemy_gives_cached_statements_the_values_of_each_use() -> None:
    table = sa.table("entries", sa.column("id", sa.Integer), sa.column("n", sa.Integer))
    compiler = Compiler(sqlite.dialect())

    def build(n: int, ids: list[int]) -> Any:
        return sa.select(table.c.n).where(table.c.n > n, table.c.id.in_(ids))

    def insert(n: int) -> Any:
        return sa.insert(table).values(n=n)

    named = sa.select(table).where(table.c.n == sa.bindparam("wanted"))
    for n in (1, 2):
        plan, arguments = compiler.statement(build(n, [n, n + 1]), None, Want.ALL)[:2]
        assert sorted(arguments) == sorted([n, n, n + 1]), plan.sql
        assert compiler.statement(insert(n), None, Want.ALL)[1] == (n,)
        assert compiler.statement(named, {"wanted": n}, Want.ALL)[1] == (n,)
    of_three, of_four = (compiler.statement(insert(n), None, Want.ALL) for n in (3, 4))
    assert of_three.plan is of_four.plan


async def test_tasks_share_a_transaction_that_is_the_databases_own(file: Path) -> None:
    """`force_rollback`, as tests use it: all tasks are inside of one transaction."""
    async with Database(f"sqlite:///{file}", force_rollback=True, acquire_seconds=60) as database:
        writes = (database.execute(INSERT, {"n": n}) for n in range(20))
        async with asyncio.timeout(30):  # less than they would wait for each other
            await asyncio.gather(*(asyncio.create_task(write) for write in writes))
            assert await database.fetch_val("SELECT count(*) FROM entries") == 20

    assert query(f"sqlite:///{file}", "SELECT count(*) FROM entries") == [(0,)]


async def test_a_connection_past_the_database_is_refused(database: Database) -> None:
    async with database.connection() as connection:
        with pytest.raises(RuntimeError, match="raw_connection is not available"):
            _ = connection.raw_connection


async def test_transaction_that_is_cancelled_in_the_queue_leaves_at_once(lanes: Database) -> None:
    async def wait_for_the_writer() -> None:
        async with lanes.transaction():
            await lanes.execute(INSERT, {"n": 2})

    async with lanes.transaction():
        await lanes.execute(INSERT, {"n": 1})
        started = time.monotonic()
        waiting = asyncio.create_task(wait_for_the_writer(), context=contextvars.Context())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - started < 30, "it waited until its time was up"

    assert await ns(lanes) == [1]


async def test_wait_for_the_writer_is_observed(lanes: Database, observed: list[tuple[str, float]]) -> None:
    async def wait_for_the_writer() -> None:
        async with lanes.transaction():
            await lanes.execute(INSERT, {"n": 2})

    async with lanes.transaction():
        await lanes.execute(INSERT, {"n": 1})
        waiting = asyncio.create_task(wait_for_the_writer(), context=contextvars.Context())
        await asyncio.sleep(0.1)
    await waiting

    waits = [value for name, value in observed if name == "pool_wait_seconds"]
    assert len(waits) == 2
    assert max(waits) >= 0.09


async def test_transaction_that_nobody_ends_does_not_keep_the_database_from_closing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_database.lane.CLOSE_SECONDS", 120)  # how long it would wait for the lane
    database = Database(f"sqlite:///{file}")
    await database.connect()
    left = database.iterate("SELECT 1 UNION SELECT 2")
    assert (await anext(left))[0] == 1

    async with asyncio.timeout(60):
        await database.disconnect()

    await left.aclose()


async def test_statement_is_ended_when_its_transaction_has_no_time_left(brief: Database) -> None:
    async def one_long_statement() -> None:
        async with brief.transaction():
            await brief.execute(INSERT, {"n": 1})
            await brief.fetch_val(ENDLESS)

    async with asyncio.timeout(60):
        with pytest.raises(TransactionTimeout, match="was open for 1 s"):
            await one_long_statement()
    await insert_at_last(brief, 2)

    assert await ns(brief) == [2]


async def test_gate_that_cannot_be_locked_fails_the_write_and_not_those_after_it(
    lanes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("durable_database.writer.fcntl.flock", no_locks)
        with pytest.raises(OSError, match="No locks available"):
            await lanes.execute(INSERT, {"n": 1})
    await lanes.execute(INSERT, {"n": 2})

    assert await ns(lanes) == [2]


@pytest.mark.parametrize("readonly", [True, False])
async def test_transaction_that_is_cancelled_when_its_lane_begins_keeps_no_lane(
    lanes: Database, monkeypatch: pytest.MonkeyPatch, readonly: bool
) -> None:
    serve = OpenTransaction._serve

    def begin_slowly(transaction: OpenTransaction, lane: Any) -> Any:
        time.sleep(0.1)
        return serve(transaction, lane)

    async def read() -> None:
        async with lanes.transaction(readonly=readonly):
            await lanes.fetch_val("SELECT 1")

    monkeypatch.setattr(OpenTransaction, "_serve", begin_slowly)
    for _ in range(4):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.03):
                await read()
    async with asyncio.timeout(30):  # a lane that waited for its task would do so for 120 s
        while not (lanes._backend.writer.idle and lanes._backend.readers.free == READERS):
            await asyncio.sleep(0.01)
