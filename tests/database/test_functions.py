"""Transactions that are functions: whole or not there, sharing commits, undone alone; on both databases."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from durable_database import Database, PoolTimeout, TransactionTimeout
from durable_database.errors import TransactionControlError, breaks_unique
from tests.support.databases import query

pytestmark = pytest.mark.anyio

numbers = sa.Table(
    "numbers",
    sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"}),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("n", sa.Integer, unique=True),
)
TABLES = """
    CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER CONSTRAINT uq_numbers_n UNIQUE);
    CREATE TABLE notes (n INTEGER REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/numbers.db"
        tables = TABLES
    else:
        url = request.getfixturevalue("postgresql_server").new_database()
        tables = TABLES.replace("id INTEGER PRIMARY KEY", "id serial PRIMARY KEY")
    for statement in tables.split(";"):
        query(url, statement)
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with asyncio.timeout(120), Database(url, acquire_seconds=60) as database:
        yield database


def stored(url: str) -> list[int]:
    """As another process sees it."""
    return sorted(n for (n,) in query(url, "SELECT n FROM numbers"))


def insert(connection: sa.Connection, *ns: int) -> int:
    for n in ns:
        connection.execute(numbers.insert().values(n=n))
    return len(ns)


def highest(connection: sa.Connection) -> int | None:
    found: int | None = connection.execute(sa.select(sa.func.max(numbers.c.n))).scalar_one()
    return found


async def test_function_is_stored_when_it_returns_and_undone_when_it_raises(
    database: Database, url: str
) -> None:
    def fail(connection: sa.Connection) -> None:
        insert(connection, 3, 4)
        raise ZeroDivisionError

    assert await database.write(insert, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await database.write(fail)

    assert stored(url) == [1, 2]
    assert await database.read(highest) == 2


async def test_functions_that_come_together_are_undone_alone(database: Database, url: str) -> None:
    results = await asyncio.gather(
        *(database.write(insert, n, 100 + n % 5) for n in range(10)), return_exceptions=True
    )

    failed = [n for n, result in enumerate(results) if isinstance(result, Exception)]
    assert len(failed) == 5
    assert all(breaks_unique(results[n], "numbers", "n") for n in failed)  # type: ignore[arg-type]
    assert stored(url) == sorted([n for n in range(10) if n not in failed] + [100, 101, 102, 103, 104])


@pytest.mark.timing  # 60 writers of one row wait for each other, and for a connection no longer than 5 s
async def test_read_then_write_is_safe(database: Database, url: str) -> None:
    def add_one(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(numbers).where(numbers.c.id == 1).with_for_update()).one()
        connection.execute(numbers.update().where(numbers.c.id == 1).values(n=row.n + 1))

    await database.write(insert, 0)
    await asyncio.gather(*(database.write(add_one) for _ in range(60)))

    assert stored(url) == [60]


async def test_part_of_a_function_may_fail_alone(database: Database, url: str) -> None:
    def function(connection: sa.Connection) -> None:
        insert(connection, 1)
        with contextlib.suppress(sa.exc.IntegrityError), connection.begin_nested():
            insert(connection, 2, 1)
        insert(connection, 3)

    await asyncio.gather(database.write(function), database.write(insert, 10))

    assert stored(url) == [1, 3, 10]


@pytest.mark.parametrize("how", ["commit", "rollback", "text"])
async def test_function_ends_no_transaction_that_others_share(database: Database, url: str, how: str) -> None:
    def function(connection: sa.Connection) -> None:
        insert(connection, 1)
        if how == "text":
            connection.execute(sa.text("/* now */ COMMIT"))
        else:
            getattr(connection, how)()

    results = await asyncio.gather(
        database.write(insert, 7), database.write(function), database.write(insert, 8), return_exceptions=True
    )

    assert [type(result) for result in results] == [int, TransactionControlError, int]
    assert stored(url) == [7, 8]


@pytest.mark.parametrize("how", ["close", "invalidate", "detach"])
async def test_function_that_closes_its_connection_spoils_no_other(
    database: Database, url: str, how: str
) -> None:
    def function(connection: sa.Connection) -> None:
        getattr(connection, how)()

    await asyncio.gather(
        database.write(insert, 1), database.write(function), database.write(insert, 2), return_exceptions=True
    )
    await database.write(insert, 3)

    assert stored(url) == [1, 2, 3]


async def test_what_cannot_be_used_after_the_function_is_refused_in_words(database: Database) -> None:
    async def coroutine(connection: sa.Connection) -> None: ...

    with pytest.raises(TypeError, match=r"coroutine is a coroutine function.*make it a plain `def`"):
        await database.write(coroutine)
    with pytest.raises(TypeError, match="returned a coroutine"):
        await database.write(lambda connection: coroutine(connection))
    with pytest.raises(TypeError, match="returned a Result"):
        await database.read(lambda connection: connection.execute(sa.select(numbers)))
    with pytest.raises(RuntimeError):
        await database.write(lambda connection: next(iter(())))


async def test_reading_function_sees_one_state_and_may_not_write(database: Database, url: str) -> None:
    seen, written = threading.Event(), threading.Event()

    def read_twice(connection: sa.Connection) -> tuple[int | None, int | None]:
        before = highest(connection)
        seen.set()
        if url.startswith("sqlite"):  # on PostgreSQL it runs on the loop: nothing of ours comes in between
            written.wait(60)
        else:
            query(url, "INSERT INTO numbers (n) VALUES (2)")
        return before, highest(connection)

    await database.write(insert, 1)
    reading = asyncio.create_task(database.read(read_twice))
    if url.startswith("sqlite"):
        await asyncio.to_thread(seen.wait, 60)
        await database.write(insert, 2)
        written.set()

    assert await reading == (1, 1)
    assert await database.read(highest) == 2
    with pytest.raises(Exception, match=r"(?i)read.?only"):
        await database.read(insert, 3)


async def test_deferred_constraint_fails_the_function_to_blame_alone(database: Database, url: str) -> None:
    def orphan(connection: sa.Connection) -> None:
        connection.execute(sa.text("INSERT INTO notes VALUES (-1)"))

    results = await asyncio.gather(
        database.write(insert, 1), database.write(orphan), database.write(insert, 2), return_exceptions=True
    )

    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert stored(url) == [1, 2]


async def test_function_inside_of_a_transaction_is_a_part_of_it(database: Database, url: str) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction():
            assert await database.write(insert, 1, 2) == 2
            assert await database.read(highest) == 2
            raise ZeroDivisionError
    async with database.transaction():
        await database.execute(numbers.insert(), {"n": 5})
        with pytest.raises(sa.exc.IntegrityError):
            await database.write(insert, 6, 5)
        await database.write(insert, 7)

    assert stored(url) == [5, 7]


async def test_cancelled_function_is_whole_or_not_there(database: Database, url: str) -> None:
    def pair(connection: sa.Connection, n: int) -> None:
        insert(connection, n)
        time.sleep(0.0005)
        insert(connection, -n)

    acknowledged = set()

    async def client(mine: range) -> None:
        for n in mine:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((n % 13) * 0.0005 if n % 3 else None):
                    await database.write(pair, n)
                    acknowledged.add(n)

    await asyncio.gather(*(client(range(start, 241, 8)) for start in range(1, 9)))
    await database.write(insert, 1000)

    found = set(stored(url))
    assert acknowledged <= found
    assert {n for n in found if -n not in found} == {1000}
    assert len(acknowledged) >= 80


class TestOnSQLite:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "numbers.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(TABLES)
        return path

    @pytest.fixture
    def observed(self) -> list[tuple[str, float]]:
        return []

    @pytest.fixture
    async def lanes(self, file: Path, observed: Any) -> AsyncIterator[Database]:
        async with Database(
            f"sqlite:///{file}",
            acquire_seconds=60,
            transaction_seconds=120,
            observe=lambda *measure: observed.append(measure),
        ) as database:
            yield database

    async def test_functions_that_wait_share_a_commit(
        self, lanes: Database, observed: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Else a busy machine ends the commit sooner.
        monkeypatch.setattr("durable_database.writer.QUANTUM_SECONDS", 60)
        await asyncio.gather(*(lanes.write(insert, n) for n in range(50)))

        sizes = [value for name, value in observed if name == "batch_size"]
        assert sum(sizes) == 50
        assert max(sizes) >= 8

    async def test_function_that_undoes_the_whole_transaction_undoes_no_other(
        self, lanes: Database, file: Path
    ) -> None:
        def undo(connection: sa.Connection) -> None:
            with contextlib.suppress(sa.exc.IntegrityError):
                connection.execute(sa.text("INSERT OR ROLLBACK INTO numbers (n) VALUES (1)"))
            connection.execute(numbers.insert().values(n=99))

        await lanes.write(insert, 1)
        results = await asyncio.gather(
            lanes.write(insert, 2), lanes.write(undo), lanes.write(insert, 3), return_exceptions=True
        )

        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        assert "rolled back by an earlier error" in str(results[1])
        assert stored(f"sqlite:///{file}") == [1, 2, 3]

    async def test_function_that_takes_too_long_is_undone(self, file: Path) -> None:
        def linger(connection: sa.Connection) -> None:
            insert(connection, 1)
            time.sleep(0.6)
            insert(connection, 2)

        async with Database(f"sqlite:///{file}", acquire_seconds=60, transaction_seconds=0.5) as brief:
            with pytest.raises(TransactionTimeout, match=r"was open for 0\.5 s"):
                await brief.write(linger)
        async with Database(f"sqlite:///{file}", acquire_seconds=60) as database:
            await database.write(insert, 3)

        assert stored(f"sqlite:///{file}") == [3]

    async def test_function_that_was_given_up_is_not_run_later(self, file: Path) -> None:
        may_end = threading.Event()

        def linger(connection: sa.Connection) -> None:
            may_end.wait(60)

        async with Database(f"sqlite:///{file}", acquire_seconds=1, transaction_seconds=120) as database:
            first = asyncio.create_task(database.write(linger))
            await asyncio.sleep(0)
            with pytest.raises(PoolTimeout, match="the writer was not free for 1 s"):
                await database.write(insert, 1)
            may_end.set()
            await first
            async with asyncio.timeout(60):
                while stored(f"sqlite:///{file}") == []:
                    with contextlib.suppress(PoolTimeout):  # of a busy machine
                        await database.write(insert, 2)

        assert stored(f"sqlite:///{file}") == [2]

    async def test_rows_that_were_not_read_pin_no_old_state(self, lanes: Database) -> None:
        kept = []

        def leave_open(connection: sa.Connection) -> None:
            result = connection.execute(sa.select(numbers))
            result.fetchone()
            kept.append(result)

        await lanes.execute_many(numbers.insert(), [{"n": n} for n in range(500)])
        for _ in range(3):
            await lanes.read(leave_open)
        await lanes.write(insert, 1000)

        for _ in range(3):
            assert await lanes.read(highest) == 1000

    async def test_function_leaves_no_option_on_the_connection_that_is_lent_on(self, lanes: Database) -> None:
        def set_options(connection: sa.Connection) -> None:
            connection.execution_options(schema_translate_map={None: "elsewhere"})

        def change_isolation(connection: sa.Connection) -> None:
            connection.execution_options(isolation_level="SERIALIZABLE")

        await lanes.write(set_options)
        with pytest.raises(TransactionControlError, match="isolation_level"):
            await lanes.write(change_isolation)

        assert await lanes.write(insert, 1) == 1
        assert await lanes.read(highest) == 1
