"""The SQLite backend: per process one writer and a few readers, opened once, on one file in WAL mode."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from databases import DatabaseURL
from sqlalchemy.dialects.sqlite import pysqlite

from durable_database.gate import Gate
from durable_database.lane import Lane
from durable_database.location import FileIdentity, require_file_url
from durable_database.readers import OVER, TURN_SECONDS, Inline, Readers
from durable_database.sqlite_transaction import OpenTransaction, SQLiteSession
from durable_database.statements import Compiler, Record, Statement, Work
from durable_database.writer import Kind, Writer, refuse_child_task, run_in_transaction

# For strangers, as a backup or the sqlite3 shell; our own processes queue at the gate.
BUSY_MILLISECONDS = 5000
READERS = 3
# The WAL is cut to this when it is started anew after a burst, or after a long read that held it.
WAL_BYTES = 64 * 1024 * 1024


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
    ) -> None:
        self._path = require_file_url(DatabaseURL(url))
        self._acquire_seconds = acquire_seconds
        self._transaction_seconds = transaction_seconds
        self._inline_reads = inline_reads
        self._inline: Inline | None = None
        self.observe = observe
        self._lanes: list[Lane] = []
        self.open_transactions: set[OpenTransaction] = set()
        self.compiler = Compiler(pysqlite.dialect())

    async def connect(self) -> None:
        gate = Gate(self._path)
        try:
            self._file = FileIdentity(self._path)
            writer = await self._open("journal_mode=WAL", f"journal_size_limit={WAL_BYTES}")
            lanes = [await self._open("query_only=ON") for _ in range(READERS)]
            if self._inline_reads:
                self._inline = Inline(
                    self._path, self._file, [*_pragmas(0), "query_only=ON"], self._lanes_work
                )
            gate.open()
        except BaseException:
            await self._close()
            raise
        self.writer = Writer(writer, gate, Path(f"{self._path}-wal"), self._acquire_seconds, self.observe)
        self.readers = Readers(lanes, self._acquire_seconds, self.observe)

    async def _open(self, *pragmas: str) -> Lane:
        lane = await Lane.open(
            self._path, [*_pragmas(BUSY_MILLISECONDS), *pragmas], self._transaction_seconds
        )
        self._lanes.append(lane)
        return lane

    async def disconnect(self) -> None:
        for transaction in list(self.open_transactions):
            await transaction.end(committed=False)
        # The writer last, and behind the gate: the last connection that closes a file checkpoints it.
        self.writer.lane.post(self.writer.gate.acquire)
        await self._close()
        self.writer.gate.close()

    async def _close(self) -> None:
        if self._inline is not None:
            self._inline.raw.close()
            self._inline = None
        while self._lanes:
            await self._lanes.pop().close()

    def _lanes_work(self) -> bool:
        return self.writer.busy or self.readers.free < READERS

    def session(self) -> "SQLiteSession":
        return SQLiteSession(self)

    async def do(self, work: Work) -> Any:
        inline = self._inline
        if inline is not None and isinstance(work, Statement) and not work.plan.writes:
            if inline.waiting or inline.spent > TURN_SECONDS:
                await inline.turn()
            if (found := inline.run(work)) is not OVER:
                return found
        return await self._do_in_thread(work)

    async def _do_in_thread(self, work: Work) -> Any:
        is_statement = isinstance(work, Statement)
        if not work.writes:
            self._file.look()
            try:
                run = self.readers.run if is_statement else self.read
                return await run(lambda lane: lane.run(work))
            except sqlite3.OperationalError as error:
                if not isinstance(work, Statement) or error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
                    raise
                work.plan.writes = True  # WITH ... INSERT, for one: now it is known
        refuse_child_task()
        return await self.write(
            lambda lane: lane.run(work), Kind.STATEMENT if is_statement else Kind.FUNCTION
        )

    def write(self, run: Callable[[Lane], Any], kind: Kind) -> "asyncio.Future[Any]":
        self._file.check()  # each time: a write to a file that nobody finds would be acknowledged and lost
        return self.writer.submit(run, kind)

    async def read(self, run: Callable[[Lane], Any]) -> Any:
        """Runs a read in a transaction: all statements of `run` see one state."""
        return await self.readers.run(partial(run_in_transaction, "BEGIN", run))

    def stream(self, statement: Statement) -> AsyncGenerator[Record, None]:
        """Streams on a lane of its own: the consumer may write meanwhile, or never come back."""
        transaction = OpenTransaction(self, readonly=not statement.writes, limited=False)
        return transaction.stream(statement, is_all=True)
