"""The SQLite backend: per process one writer and a few readers, opened once, on one file in WAL mode."""

import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from databases import DatabaseURL

from durable_database import statements
from durable_database.compiler import Compiler
from durable_database.gate import Gate
from durable_database.lane import Lane
from durable_database.location import FileIdentity, require_file_url
from durable_database.readers import Inline, Readers, stream
from durable_database.sqlite_transaction import RootTransaction, SQLiteTransaction
from durable_database.statements import DIALECT, Query, Statement, Values, Want
from durable_database.writer import Writer

# For strangers, as a backup or the sqlite3 shell; our own processes queue at the gate.
BUSY_MILLISECONDS = 5000
READERS = 3
# The WAL is cut to this when it is started anew after a burst, or after a long read that held it.
WAL_BYTES = 64 * 1024 * 1024
# How old what reads know of the file's place may be.
LOOK_SECONDS = 1.0


def _pragmas(busy_milliseconds: int) -> list[str]:
    # FULL: a commit that was acknowledged survives a power cut. Group commit buys back more than it costs.
    return [f"busy_timeout={busy_milliseconds}", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"]


class SQLiteBackend:
    """`inline_reads=False` has all reads run in threads; seconds bound the waits: see docs/database.md."""

    readers: Readers
    writer: Writer

    def __init__(
        self,
        url: DatabaseURL | str,
        *,
        acquire_seconds: float = 5.0,
        transaction_seconds: float = 10.0,
        inline_reads: bool = True,
        observe: Callable[[str, float], None] = lambda name, value: None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: no option of a SQLite database here; there are acquire_seconds, "
                "transaction_seconds, inline_reads and observe"
            )
        self._path = require_file_url(DatabaseURL(url))
        self._inline_reads = inline_reads
        self._observe = observe
        self._lanes: list[Lane] = []
        self.acquire_seconds = acquire_seconds
        self.transaction_seconds = transaction_seconds
        self.compiler = Compiler(DIALECT)

    async def connect(self) -> None:
        gate = Gate(self._path)
        inline = None
        try:
            writer = await self._open("journal_mode=WAL", f"journal_size_limit={WAL_BYTES}")
            lanes = [await self._open("query_only=ON") for _ in range(READERS)]
            if self._inline_reads:
                inline = Inline(self._path, [*_pragmas(0), "query_only=ON"])
            gate.open()
        except BaseException:
            await self._close()
            raise
        self.writer = Writer(writer, gate, Path(f"{self._path}-wal"), self.acquire_seconds, self._observe)
        self.readers = Readers(inline, lanes, self.acquire_seconds, self._observe)
        self._file = FileIdentity(self._path)
        self._looked = time.monotonic()

    def require_file(self) -> None:
        """Before each write: one into a file that was removed or replaced would be acknowledged and lost."""
        self._file.check()

    def _look_for_file(self) -> None:
        """Reads would go on in what nobody else sees; they look once a second."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._file.check()
            self._looked = now

    async def _open(self, *pragmas: str) -> Lane:
        lane = await Lane.open(self._path, [*_pragmas(BUSY_MILLISECONDS), *pragmas], self.transaction_seconds)
        self._lanes.append(lane)
        return lane

    async def disconnect(self) -> None:
        self.readers.close()
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
            self._look_for_file()
            try:
                return await self.readers.run(plan, arguments, want)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
                    raise
                plan.writes = True  # WITH ... INSERT, for one: now it is known
        return await self._write(lambda lane: statements.run(lane.raw, plan, arguments, want), True)

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        many = self.many(query, values)
        await self._write(lambda lane: statements.run(lane.raw, *many), False)

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        several = self.several(statements)
        results: list[Any] = await self._write(lambda lane: run_all(lane, several), False)
        return results

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, write: bool) -> Any:
        if write:
            return await self._write(lambda lane: lane.functions.call(function, arguments), False)
        self._look_for_file()
        return await self.readers.call(lambda lane: _read(lane, function, arguments))

    async def _write(self, run: Callable[[Lane], Any], undoes_itself: bool) -> Any:
        self.require_file()
        return await self.writer.submit(run, undoes_itself=undoes_itself)

    def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        return stream(self.readers, *self.compiler.plan(query, values))

    def many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> Statement:
        planned = [self.compiler.plan(query, each) for each in values]
        return Statement(planned[0][0], [arguments for _, arguments in planned], Want.MANY)

    def several(self, statements: Sequence[tuple[Query, Values]]) -> list[Statement]:
        return [Statement(*self.compiler.plan(*each), Want.RESULT) for each in statements]


def run_all(lane: Lane, several: Sequence[Statement]) -> list[Any]:
    return [statements.run(lane.raw, *statement) for statement in several]


def _read(lane: Lane, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    lane.raw.execute("BEGIN")
    try:
        return lane.functions.call(function, arguments)
    finally:
        if lane.raw.in_transaction:
            lane.raw.execute("ROLLBACK")


class SQLiteSession:
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
            return
        many = self.backend.many(query, values)
        await self.root.atomically(lambda lane: statements.run(lane.raw, *many))

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        if self.root is None:
            return await self.backend.batch(statements)
        several = self.backend.several(statements)
        results: list[Any] = await self.root.atomically(lambda lane: run_all(lane, several))
        return results

    async def call(self, function: Callable[..., Any], arguments: tuple[Any, ...], *, write: bool) -> Any:
        if self.root is None:
            return await self.backend.call(function, arguments, write=write)
        return await self.root.atomically(lambda lane: lane.functions.call(function, arguments))

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
