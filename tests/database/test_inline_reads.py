"""Reads on the event loop: only short ones, and none that could stop it for long."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from durable_database import Database
from durable_database.sqlite import BUDGET_STEPS, STEP_INSTRUCTIONS
from durable_database.statements import Want

pytestmark = pytest.mark.anyio

BY_KEY = "SELECT n FROM numbers WHERE id = :id"
SCAN = "SELECT sum(n) FROM numbers"
ROWS = 20_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER)")
        connection.executemany("INSERT INTO numbers (n) VALUES (?)", ((n,) for n in range(ROWS)))
    return path


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{file}") as database:
        yield database


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time ends no read: one that the machine sets aside for 2 ms would look like one of a slow disk."""
    monkeypatch.setattr("durable_database.sqlite.MOST_SECONDS", 60)


def threads_of(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In which threads statements are run, from now on."""
    from durable_database import statements

    found: list[int] = []
    run = statements.run

    def note(*arguments: Any) -> Any:
        found.append(threading.get_ident())
        return run(*arguments)

    monkeypatch.setattr(statements, "run", note)
    return found


@pytest.mark.usefixtures("unhurried")
async def test_read_by_key_crosses_no_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threads_of(database, monkeypatch)

    assert [await database.fetch_val(BY_KEY, {"id": n}) for n in range(1, 4)] == [0, 1, 2]

    assert set(threads) == {threading.get_ident()}


@pytest.mark.usefixtures("unhurried")
async def test_often_used_short_statement_is_never_over_budget(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the instructions of all uses of a prepared statement together."""
    threads = threads_of(database, monkeypatch)

    for n in range(STEP_INSTRUCTIONS * BUDGET_STEPS):
        await database.fetch_val(BY_KEY, {"id": n})

    plan = database._backend.compiler.statement(BY_KEY, {"id": 1}, Want.ONE).plan
    assert not plan.over_budget
    assert threads.count(threading.get_ident()) >= STEP_INSTRUCTIONS * BUDGET_STEPS * 0.9


@pytest.mark.usefixtures("unhurried")
async def test_scan_is_cut_off_and_starts_in_a_thread_from_then_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threads_of(database, monkeypatch)

    sums = [await database.fetch_val(SCAN) for _ in range(3)]

    assert sums == [ROWS * (ROWS - 1) // 2] * 3
    assert [thread == threading.get_ident() for thread in threads] == [True, False, False, False]


async def test_interrupted_statement_is_not_prepared_anew_for_each_use(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Python 3.11, in 9 us. SQLite counts instructions for as long as a statement stays prepared."""
    four = "SELECT * FROM numbers WHERE id > :id LIMIT 4"
    with monkeypatch.context() as patch:
        patch.setattr("durable_database.sqlite.MOST_SECONDS", 0.0)
        for n in range(10):
            assert len(await database.fetch_all(four, {"id": n})) == 4

    steps: list[None] = []
    database._backend._inline.raw.set_progress_handler(lambda: steps.append(None), STEP_INSTRUCTIONS)
    for n in range(100):
        await database.fetch_all(four, {"id": n})

    assert len(steps) >= 10


async def test_setting_turns_it_off(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Database(f"sqlite:///{file}", inline_reads=False) as database:
        threads = threads_of(database, monkeypatch)
        assert await database.fetch_val(BY_KEY, {"id": 1}) == 0

    assert threading.get_ident() not in threads


@pytest.mark.usefixtures("unhurried")
async def test_file_that_is_busy_is_read_in_a_thread(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable_database import statements

    run = statements.run

    def busy(*arguments: Any) -> Any:
        if threading.get_ident() == threading.main_thread().ident:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return run(*arguments)

    monkeypatch.setattr(statements, "run", busy)
    threads = threads_of(database, monkeypatch)

    assert [await database.fetch_val(BY_KEY, {"id": n}) for n in (1, 2)] == [0, 1]

    assert [thread == threading.get_ident() for thread in threads] == [True, False] * 2


async def test_own_writes_are_seen_at_once(database: Database) -> None:
    for n in range(50):
        await database.execute("UPDATE numbers SET n = :n WHERE id = 1", {"n": n})
        assert await database.fetch_val(BY_KEY, {"id": 1}) == n


async def test_tasks_that_only_read_leave_the_loop_to_others(database: Database) -> None:
    """However many they are: a turn of the loop has time for some 30 reads, which all of them share."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> None:
        for n in range(500):
            await database.fetch_val(BY_KEY, {"id": n})

    task = asyncio.create_task(other())
    await asyncio.gather(*(read() for _ in range(16)))
    task.cancel()

    assert turns >= 16 * 500 / 200


async def test_reads_that_wait_for_a_turn_end_each_by_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threads_of(database, monkeypatch)
    database._backend._inline.spent = 1.0
    statements = [BY_KEY, BY_KEY, "SELECT nothing FROM numbers WHERE id = :id", SCAN, BY_KEY]
    reads = [
        asyncio.create_task(database.fetch_val(statement, {"id": n}))
        for n, statement in enumerate(statements, start=1)
    ]
    await asyncio.sleep(0)
    reads[1].cancel()

    found = await asyncio.gather(*reads, return_exceptions=True)

    assert found[0] == 0
    assert isinstance(found[1], asyncio.CancelledError)
    assert isinstance(found[2], sqlite3.OperationalError)
    assert found[3:] == [ROWS * (ROWS - 1) // 2, 4]
    on_the_loop = [thread == threading.get_ident() for thread in threads]
    assert sorted(on_the_loop) == [False, True, True, True, True]  # the scan again; not what was cancelled


async def test_loop_is_never_stopped_for_long_by_reads(database: Database) -> None:
    """CPU time of the loop's thread: a machine that is busy with others says nothing of this."""
    longest = 0.0
    inline = database._backend._inline
    run = inline.run

    def timed(*arguments: Any) -> Any:
        nonlocal longest
        started = time.thread_time()
        try:
            return run(*arguments)
        finally:
            longest = max(longest, time.thread_time() - started)

    inline.run = timed
    for n in range(300):
        await database.fetch_val(f"{SCAN} WHERE n > {n}")
        await database.fetch_all("SELECT * FROM numbers WHERE id > :id LIMIT 50", {"id": n})
        await database.fetch_val(BY_KEY, {"id": n})

    assert longest < 0.01


async def test_slow_disk_has_reads_rest_on_the_loop(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable_database import sqlite, statements

    run = statements.run
    counted = iter(range(1_000_000))
    monkeypatch.setattr(sqlite, "disk_reads", lambda: next(counted))

    def slow(*arguments: Any) -> Any:
        if threading.get_ident() == threading.main_thread().ident:
            time.sleep(0.02)
        return run(*arguments)

    monkeypatch.setattr(statements, "run", slow)
    monkeypatch.setattr(sqlite, "REST", 1_000_000)
    threads = threads_of(database, monkeypatch)
    for _ in range(20):
        await database.fetch_val(BY_KEY, {"id": 1})

    assert [thread == threading.get_ident() for thread in threads] == [True] + [False] * 19
    assert database._backend._inline._rest_until > time.perf_counter() + 0.02 * 1_000_000 - 100
    database._backend._inline._rest_until = time.perf_counter()  # when it is over
    await database.fetch_val(BY_KEY, {"id": 1})
    assert threads[-1] == threading.get_ident()


async def test_replaced_file_is_found_out_by_reads_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_database.location.LOOK_SECONDS", 0.0)
    async with Database(f"sqlite:///{file}") as database:
        away = file.rename(file.with_name("away.db"))
        with pytest.raises(sqlite3.OperationalError, match="was removed or replaced while in use"):
            await database.fetch_val(BY_KEY, {"id": 1})
        away.rename(file)
        assert await database.fetch_val(BY_KEY, {"id": 1}) == 0


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite://", "sqlite:///file::memory:?cache=shared"])
async def test_database_in_memory_is_refused_in_words(url: str) -> None:
    with pytest.raises(ValueError, match=r"(a database in memory would not join|has a query \(cache\))"):
        Database(url)


async def test_unknown_option_is_named(file: Path) -> None:
    with pytest.raises(ValueError, match="uri: no option of a SQLite database here; there are acquire_s"):
        Database(f"sqlite:///{file}", uri=True)
    with pytest.raises(ValueError, match="min_size: no option of a PostgreSQL database here; there are size"):
        Database("postgresql://shop@localhost/shop", min_size=1)
    with pytest.raises(ValueError, match="mysql:// is no database known here"):
        Database("mysql://localhost/shop")
