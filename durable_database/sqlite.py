"""The SQLite backend: per process one writer and a few readers, opened once, on one file in WAL mode."""

import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from databases import DatabaseURL

from durable_database.compiler import Compiler
from durable_database.filesystem import FileIdentity
from durable_database.fork import forget, refuse_after_fork
from durable_database.gate import Gate
from durable_database.group_commit import Statement
from durable_database.interfaces import Backend, Observe, Query, Session, Values, Want, ignore
from durable_database.lane import Lane
from durable_database.readers import Readers
from durable_database.sqlite_transaction import RootTransaction, SQLiteTransaction
from durable_database.statements import DIALECT
from durable_database.stream import stream
from durable_database.writer import Writer

# For strangers, as a backup or the sqlite3 shell; our own processes queue at the gate.
BUSY_MILLISECONDS = 5000
SPARE_READERS = 2
# The WAL is cut to this when it is started anew after a burst, or after a long read that held it.
WAL_BYTES = 64 * 1024 * 1024


def _pragmas() -> list[str]:
    # FULL: a commit that was acknowledged survives a power cut. Group commit buys back more than it costs.
    return [f"busy_timeout={BUSY_MILLISECONDS}", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"]


class SQLiteBackend(Backend):
    readers: Readers
    writer: Writer

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        acquire_seconds: float = 5.0,
        transaction_seconds: float = 10.0,
        observe: Observe = ignore,
    ) -> None:
        url = DatabaseURL(url)
        if url.options:
            raise ValueError(f"{url} has a query, which SQLite's file has not; give options as keywords")
        self._path = url.database
        self._observe = observe
        self._lanes: list[Lane] = []
        self.acquire_seconds = acquire_seconds
        self.transaction_seconds = transaction_seconds
        self.compiler = Compiler(DIALECT)

    async def connect(self) -> None:
        gate = Gate(self._path)
        try:
            writer = await self._open("journal_mode=WAL", f"journal_size_limit={WAL_BYTES}")
            readers = [await self._open("query_only=ON") for _ in range(1 + SPARE_READERS)]
            gate.open()
        except BaseException:
            await self._close()
            raise
        self.writer = Writer(writer, gate, Path(f"{self._path}-wal"), self.acquire_seconds, self._observe)
        self.readers = Readers(readers, self.acquire_seconds, self._observe)
        self._file = FileIdentity(self._path)
        refuse_after_fork(self)

    def require_file(self) -> None:
        """Before each write: one into a file that was removed or replaced would be acknowledged and lost."""
        self._file.check()

    async def _open(self, *pragmas: str) -> Lane:
        lane = await Lane.open(self._path, [*_pragmas(), *pragmas])
        self._lanes.append(lane)
        return lane

    async def disconnect(self) -> None:
        forget(self)
        # The writer last, and behind the gate: the last connection that closes a file checkpoints it.
        self.writer.lane.post(self.writer.gate.acquire)
        await self._close()
        self.writer.gate.close()

    async def _close(self) -> None:
        while self._lanes:
            await self._lanes.pop().close()

    def connection(self) -> "SQLiteSession":
        return SQLiteSession(self)

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        plan, arguments = self.compiler.plan(query, values)
        if not plan.writes:
            try:
                return await self.readers.run(plan, arguments, want)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
                    raise
                plan.writes = True  # WITH ... INSERT, for one: now it is known
        self.require_file()
        return await self.writer.submit([Statement(plan, arguments, want)], single=True)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        self.require_file()
        await self.writer.submit([self.many(query, values)], single=True)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        self.require_file()
        results: list[Any] = await self.writer.submit(self.several(statements), single=False)
        return results

    def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        return stream(self.readers, *self.compiler.plan(query, values))

    def many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> Statement:
        planned = [self.compiler.plan(query, each) for each in values]
        return Statement(planned[0][0], [arguments for _, arguments in planned], Want.MANY)

    def several(self, statements: Sequence[tuple[Query, Values]]) -> list[Statement]:
        return [Statement(*self.compiler.plan(*each), Want.RESULT) for each in statements]


class SQLiteSession(Session):
    """Holds no lane of its own: statements outside of a transaction go where the backend's go."""

    def __init__(self, backend: SQLiteBackend) -> None:
        self.backend = backend
        self.root: RootTransaction | None = None

    async def acquire(self) -> None:
        pass

    async def release(self) -> None:
        if self.root is not None:
            root, self.root = self.root, None
            await root.end("ROLLBACK")

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        if self.root is None:
            return await self.backend.run(query, values, want)
        plan, arguments = self.backend.compiler.plan(query, values)
        return await self.root.run(Statement(plan, arguments, want))

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        if self.root is None:
            await self.backend.run_many(query, values)
        else:
            await self.root.run_atomically([self.backend.many(query, values)])

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        if self.root is None:
            return await self.backend.batch(statements)
        return await self.root.run_atomically(self.backend.several(statements))

    def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        if self.root is None:
            return self.backend.stream(query, values)
        return self.root.stream(*self.backend.compiler.plan(query, values))

    def transaction(self) -> SQLiteTransaction:
        return SQLiteTransaction(self)

    @property
    def raw_connection(self) -> NoReturn:
        raise RuntimeError(
            "raw_connection is not to be had on SQLite: what is sent past the database would not wait for "
            "its turn, and a transaction has not begun before its first statement"
        )
