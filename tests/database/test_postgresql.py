"""What `databases` does wrong on PostgreSQL, and must not do here."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from durable_database import Database, PoolTimeout
from durable_database.errors import DatabaseUnavailable, ForkedError
from durable_database.statements import Want
from tests.support.databases import query
from tests.support.postgresql import Server

pytestmark = pytest.mark.anyio

SIZE = 3
numbers = sa.Table(
    "numbers",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("n", sa.BigInteger, unique=True),
    sa.Column("data", sa.JSON),
)
TABLES = """
    CREATE TABLE numbers (id bigserial PRIMARY KEY, n bigint UNIQUE, data json);
    CREATE TABLE notes (n bigint REFERENCES numbers (n) DEFERRABLE INITIALLY DEFERRED)
"""
INSERT = "INSERT INTO numbers (n) VALUES (:n)"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def with_tables(postgresql_server: Server) -> str:
    url = postgresql_server.new_database()
    query(url, TABLES)
    return url


@pytest.fixture
def url(with_tables: str) -> str:
    query(with_tables, "TRUNCATE numbers, notes RESTART IDENTITY")
    return with_tables


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A connected database, all of whose connections must be free again after the test."""
    async with Database(url, size=SIZE, acquire_seconds=60) as database:
        yield database
        await all_is_free(database)


async def all_is_free(database: Database) -> None:
    pool = pool_of(database)
    async with asyncio.timeout(60):
        while pool.checkedout():
            await asyncio.sleep(0.001)
    assert not database._connection_map
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    assert query(str(database.url), idle) == [(0,)]


def pool_of(database: Database) -> Any:
    return database._backend._engine.pool


async def insert(database: Database, n: int) -> Any:
    return await database.execute(INSERT, {"n": n})


def stored(url: str) -> set[int]:
    """As another process sees it."""
    return {n for (n,) in query(url, "SELECT n FROM numbers")}


async def test_rows_are_read_by_name_position_and_mapping(database: Database) -> None:
    await database.execute(numbers.insert().values(n=7, data={"a": [1]}))

    row = await database.fetch_one(sa.select(numbers.c.n, numbers.c.data))

    assert (row["n"], row.n, row[0], row[numbers.c.data]) == (7, 7, 7, {"a": [1]})
    assert dict(row._mapping) == {"n": 7, "data": {"a": [1]}}
    assert await database.fetch_val("SELECT n FROM numbers WHERE n = 8") is None
    assert await database.fetch_one("SELECT n FROM numbers WHERE n = 8") is None


async def test_percent_signs_lists_and_repeated_parameters_reach_the_server(database: Database) -> None:
    await database.execute_many(INSERT, [{"n": n} for n in range(10)])

    found = await database.fetch_all(
        "SELECT n FROM numbers WHERE n % 3 = :zero AND n > :zero AND 'a' LIKE '%a' ORDER BY n", {"zero": 0}
    )
    listed = await database.fetch_all(sa.select(numbers.c.n).where(numbers.c.n.in_([2, 4, 99])))

    assert [row.n for row in found] == [3, 6, 9]
    assert {row.n for row in listed} == {2, 4}


async def test_execute_counts_changed_rows_and_returns_what_is_asked_for(database: Database) -> None:
    assert await database.execute(numbers.insert().values(n=1).returning(numbers.c.id)) == 1
    assert await insert(database, 2) is None
    assert await database.execute("UPDATE numbers SET n = n + 10") == 2
    assert await database.execute("DELETE FROM numbers WHERE n = 99") == 0


async def test_core_statements_are_compiled_once(database: Database) -> None:
    for n in range(3):
        await database.fetch_one(sa.select(numbers.c.n).where(numbers.c.n == n))

    assert len(database._backend.compiler._cache) == 1  # type: ignore[attr-defined]


async def test_writes_after_a_cancelled_begin_or_commit_are_committed(database: Database, url: str) -> None:
    acknowledged = set()
    for n in range(40):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(n * 0.0001), database.transaction():
                await insert(database, 1000 + n)
        await insert(database, n)
        acknowledged.add(n)

    assert acknowledged <= stored(url)


async def test_cancelled_at_any_await_nothing_is_lost_or_leaked(database: Database, url: str) -> None:
    dice = random.Random(4711)
    acknowledged: set[int] = set()

    async def write(n: int) -> None:
        if n % 3 == 0:
            await insert(database, n)
        elif n % 3 == 1:
            await database.batch([(INSERT, {"n": n}), ("SELECT 1", None)])
        else:
            async with database.transaction():
                await database.fetch_val("SELECT count(*) FROM numbers")
                async with database.transaction():
                    await insert(database, n)

    async def client(mine: range) -> None:
        for n in mine:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(dice.choice([None, dice.uniform(0, 0.01)])):
                    await write(n)
                    acknowledged.add(n)

    await asyncio.gather(*(client(range(start, 300, 6)) for start in range(6)))

    await all_is_free(database)
    assert acknowledged <= stored(url)
    assert 0 < len(acknowledged) < 300


async def test_commit_that_fails_gives_the_connection_back(database: Database) -> None:
    for _ in range(SIZE + 1):
        with pytest.raises(Exception, match="violates foreign key"):
            async with database.transaction():
                await database.execute("INSERT INTO notes VALUES (-1)")

    assert await database.fetch_val("SELECT 1") == 1


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "in a transaction"])
async def test_query_inside_of_an_iteration_is_answered(database: Database, inside: bool) -> None:
    await database.execute_many(INSERT, [{"n": n} for n in range(500)])
    seen = 0
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(50):
        if inside:
            await stack.enter_async_context(database.transaction())
        async for row in database.iterate("SELECT n FROM numbers ORDER BY n"):
            if row.n % 100 == 0:
                seen += await database.fetch_val("SELECT 1")

    assert seen == 5


async def test_iteration_that_is_left_holds_nothing(database: Database) -> None:
    await database.execute_many(INSERT, [{"n": n} for n in range(500)])

    for _ in range(SIZE + 1):
        async for _row in database.iterate("SELECT n FROM numbers"):
            break

    assert await database.execute("UPDATE numbers SET n = -n") == 500


async def test_transaction_may_end_in_another_task(database: Database, url: str) -> None:
    transaction = await asyncio.create_task(database.transaction().start())
    assert transaction.connection is not None
    await transaction.connection.execute(INSERT, {"n": 5})

    await asyncio.create_task(transaction.commit())

    assert stored(url) == {5}


async def test_child_that_writes_inside_its_parents_transaction_is_outside_of_it(
    database: Database, url: str
) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction():
            await insert(database, 1)
            await asyncio.gather(*(asyncio.create_task(insert(database, n)) for n in (2, 3)))
            raise ZeroDivisionError

    assert stored(url) == {2, 3}


async def test_many_are_written_all_or_none(database: Database, url: str) -> None:
    with pytest.raises(Exception, match="unique constraint"):
        await database.execute_many(INSERT, [{"n": 1}, {"n": 2}, {"n": 1}])
    with pytest.raises(Exception, match="unique constraint"):
        await database.batch([(INSERT, {"n": 3}), (INSERT, {"n": 3})])

    assert stored(url) == set()


async def test_inner_transaction_is_undone_alone(database: Database, url: str) -> None:
    async with database.transaction():
        await insert(database, 1)
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction():
                await insert(database, 2)
                raise ZeroDivisionError
        await insert(database, 3)

    assert stored(url) == {1, 3}


async def test_waiting_for_a_connection_has_a_limit(url: str) -> None:
    async with Database(url, size=1, acquire_seconds=1) as database, database.transaction():
        await insert(database, 1)
        with pytest.raises(PoolTimeout, match=r"no database connection became free in 1 s"):
            await asyncio.create_task(database.fetch_val("SELECT 1"))


async def test_process_forked_after_connecting_is_refused(database: Database) -> None:
    await database.fetch_val("SELECT 1")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            database._backend.compiler.statement("SELECT 1", None, Want.ALL)
        except ForkedError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)

    with os.fdopen(read, "rb") as answer:
        assert b"connected before a fork" in answer.read()
    assert await database.fetch_val("SELECT 1") == 1


async def test_connections_that_the_server_ended_are_replaced(database: Database, url: str) -> None:
    await asyncio.gather(*(database.fetch_val("SELECT 1") for _ in range(SIZE)))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'durable_database'"
    slow = asyncio.create_task(database.fetch_val("SELECT pg_sleep(300)"))
    async with asyncio.timeout(60):
        while query(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)'") != [(1,)]:
            await asyncio.sleep(0.01)
    query(url, end)

    with pytest.raises(DatabaseUnavailable):
        await slow
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                assert await database.fetch_val("SELECT 1") == 1
                break


async def test_server_that_is_not_there_is_one_exception(database: Database) -> None:
    nowhere = Database("postgresql://shop@127.0.0.1:1/x")

    with pytest.raises(DatabaseUnavailable, match="Connect call failed"):
        await nowhere.connect()


async def test_commit_behind_an_error_that_was_caught_is_no_success(database: Database, url: str) -> None:
    """PostgreSQL rolls back and calls it no error: what went before would be acknowledged and lost."""

    async def transaction() -> None:
        async with database.transaction():
            await insert(database, 1)
            with contextlib.suppress(asyncpg.UniqueViolationError):
                await insert(database, 1)

    def function(connection: sa.Connection) -> None:
        connection.execute(numbers.insert(), {"n": 2})
        with contextlib.suppress(sa.exc.IntegrityError):
            connection.execute(numbers.insert(), {"n": 2})

    for write in (transaction(), database.write(function)):
        with pytest.raises(asyncpg.InFailedSQLTransactionError, match="rolled back by an earlier error"):
            await write

    assert stored(url) == set()


async def test_statement_that_is_cancelled_in_a_transaction_keeps_nobody_waiting(database: Database) -> None:
    async def give_up() -> None:
        async with database.transaction():
            await insert(database, 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await database.execute("SELECT pg_sleep(50)")

    started = asyncio.get_running_loop().time()
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await give_up()

    assert asyncio.get_running_loop().time() - started < 40


async def test_write_that_is_iterated_over_is_committed(database: Database, url: str) -> None:
    write = "WITH new AS (INSERT INTO numbers (n) VALUES (1), (2) RETURNING n) SELECT n FROM new"

    assert sorted([row.n async for row in database.iterate(write)]) == [1, 2]
    assert stored(url) == {1, 2}


async def test_transaction_has_the_options_that_are_asked_for(database: Database) -> None:
    async with database.transaction(isolation="repeatable_read", readonly=True):
        assert await database.fetch_val("SHOW transaction_isolation") == "repeatable read"
        assert await database.fetch_val("SHOW transaction_read_only") == "on"
    with pytest.raises(TypeError, match="isolated"):
        await database.transaction(isolated=True).start()
    with pytest.raises(ValueError, match="isolation='snapshot' is not known; there are read_uncommitted, "):
        await database.transaction(isolation="snapshot").start()


async def test_function_reaches_the_connection_of_asyncpg(database: Database) -> None:
    def function(connection: sa.Connection) -> str:
        adapted: Any = connection.connection.dbapi_connection
        return str(adapted.run_async(lambda driver: driver.fetchval("SELECT 'asyncpg'")))

    assert await database.write(function) == "asyncpg"
