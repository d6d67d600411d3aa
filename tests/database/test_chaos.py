"""Half of all operations are cancelled at random: nothing acknowledged is lost, nothing stays behind."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest
import sqlalchemy as sa

from durable_database import Database
from durable_database.location import is_postgresql
from tests.support.databases import query
from tests.support.volume import seed, volume

# On a busy machine fewer operations end within their time.
pytestmark = [pytest.mark.anyio, pytest.mark.timing]

OPERATIONS = volume(10_000, 2_000)
ACKNOWLEDGED = OPERATIONS // 2
CLIENTS = 24
TABLES = """
    CREATE TABLE log (seq INTEGER, kind VARCHAR(20));
    CREATE TABLE counter (n INTEGER);
    INSERT INTO counter VALUES (0)
"""
WRITE = "INSERT INTO log (seq, kind) VALUES (:seq, :kind)"
SLOW = (
    "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT count(*) FROM c"
)
# What an acknowledged operation must have left in the log.
KINDS = {
    "single": ["single"],
    "transaction": ["transaction"],
    "many": ["many 1", "many 2"],
    "batch": ["batch"],
    "function": ["function"],
}


class Chaos:
    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        # SQLite has one writer at a time; PostgreSQL is asked for that.
        self._counter = "SELECT n FROM counter" + " FOR UPDATE" * is_postgresql(str(database.url))
        self._dice = random.Random(seed)
        self.acknowledged: set[tuple[str, int]] = set()
        self.errors: Counter[str] = Counter()

    async def client(self, numbers: range) -> None:
        # One task does many, as a connection's does: a leak in one operation would spoil the next.
        for seq in numbers:
            name = self._dice.choices([*KINDS, "read", "slow"], [4, 4, 2, 2, 4, 1, 0.2])[0]
            limit = self._dice.choice([None, self._dice.uniform(0, 0.02)])
            try:
                async with asyncio.timeout(limit):
                    await getattr(self, name)(seq)
            except (TimeoutError, KeyError):
                continue
            except Exception as error:  # noqa: BLE001 (counted, and none is expected)
                self.errors[repr(error)] += 1
            else:
                self.acknowledged.add((name, seq))

    async def single(self, seq: int) -> None:
        await self._database.execute(WRITE, {"seq": seq, "kind": "single"})

    async def transaction(self, seq: int) -> None:
        async with self._database.transaction():
            n = await self._database.fetch_val(self._counter)
            await self._database.execute(WRITE, {"seq": seq, "kind": "transaction"})
            if self._dice.random() < 0.2:
                raise KeyError
            with contextlib.suppress(ValueError):
                async with self._database.transaction():
                    await self._database.execute(WRITE, {"seq": seq, "kind": "undone"})
                    raise ValueError
            await self._database.execute("UPDATE counter SET n = :n", {"n": n + 1})

    async def many(self, seq: int) -> None:
        await self._database.execute_many(WRITE, [{"seq": seq, "kind": kind} for kind in KINDS["many"]])

    async def batch(self, seq: int) -> None:
        await self._database.batch(
            [("UPDATE counter SET n = n + 1", None), (WRITE, {"seq": seq, "kind": "batch"})]
        )

    async def function(self, seq: int) -> None:
        fails = self._dice.random() < 0.2
        await self._database.write(self.add, seq, fails)

    def add(self, connection: sa.Connection, seq: int, fails: bool) -> None:
        n = connection.execute(sa.text(self._counter)).scalar_one()
        connection.execute(sa.text(WRITE), {"seq": seq, "kind": "function"})
        with contextlib.suppress(ValueError), connection.begin_nested():
            connection.execute(sa.text(WRITE), {"seq": seq, "kind": "undone"})
            raise ValueError
        connection.execute(sa.text("UPDATE counter SET n = :n"), {"n": n + 1})
        if fails:
            raise KeyError

    async def read(self, seq: int) -> None:
        async for _ in self._database.iterate("SELECT * FROM log LIMIT 300"):
            if self._dice.random() < 0.005:
                break

    async def slow(self, seq: int) -> None:
        await self._database.fetch_val(SLOW)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a database with empty tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/chaos.db"
    else:
        url = request.getfixturevalue("postgresql_server").new_database()
    for statement in TABLES.split(";"):
        query(url, statement)
    return url


@pytest.mark.soak
async def test_operations_cancelled_at_random_keep_every_promise(url: str) -> None:
    async with asyncio.timeout(240), Database(url, acquire_seconds=60) as database:
        chaos = Chaos(database, seed=seed())
        clients = (chaos.client(range(start, OPERATIONS, CLIENTS)) for start in range(CLIENTS))
        await asyncio.gather(*(asyncio.create_task(client) for client in clients))

    rows = Counter(query(url, "SELECT seq, kind FROM log"))
    promised = [(seq, kind) for name, seq in chaos.acknowledged for kind in KINDS.get(name, [])]

    assert not chaos.errors
    assert len(chaos.acknowledged) >= ACKNOWLEDGED
    assert [row for row in promised if rows[row] != 1] == []
    assert [row for row, times in rows.items() if times > 1] == []
    assert [seq for seq, kind in rows if kind == "many 1" and (seq, "many 2") not in rows] == []
    assert not [row for row in rows if row[1] == "undone"]
    counted = sum(1 for _, kind in rows if kind in ("transaction", "batch", "function"))
    assert query(url, "SELECT n FROM counter") == [(counted,)]
    if not is_postgresql(url):
        assert query(url, "PRAGMA integrity_check") == [("ok",)]


async def test_nothing_is_left_open_after_chaos(url: str) -> None:
    async with asyncio.timeout(60), Database(url, acquire_seconds=60) as database:
        await database.fetch_val("SELECT 1")
        tasks = asyncio.all_tasks()
        chaos = Chaos(database, seed=42)
        await asyncio.gather(*(chaos.client(range(n, 240, CLIENTS)) for n in range(CLIENTS)))
        # Each of these takes its lane only when it is free.
        async with database.transaction():
            await database.execute(WRITE, {"seq": -1, "kind": "last"})
        for _ in range(3):
            assert [row.seq async for row in database.iterate("SELECT seq FROM log WHERE seq = -1")] == [-1]

        assert len(database._connection_map) == 0
        assert asyncio.all_tasks() == tasks
