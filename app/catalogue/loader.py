"""Loads rows into the database, batch by batch, and counts what became of each."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.catalogue.entries import Entry, Validator
from app.catalogue.rows import Refusal, Row
from app.catalogue.upsert import Outcome, upsert
from app.lifespan import MIGRATE, NotReadyError, open_database
from durable_database import Database, sqlite_file, uninterrupted
from durable_database.errors import breaks_a_constraint, driver_error, from_database, is_locked
from durable_database.location import is_postgresql, name_of

# A commit is an fsync, so rows share it; but the service waits at most 5 s for its turn to write,
# and must find the file free between two batches.
BATCH_ROWS = 250

Count = Outcome | Literal["refused"]
COUNTS: tuple[Count, ...] = ("created", "updated", "unchanged", "refused")
Report = Callable[[Refusal], None]


@dataclass
class Tally:
    """Counts what is committed or refused, never what is in progress; `line` is the last of these."""

    counts: Counter[Count] = field(default_factory=Counter)
    line: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{self.counts[count]:,} {count}" for count in COUNTS)


class LoadError(Exception):
    """Why the database takes no rows, in one sentence."""


class Loader:
    def __init__(self, database: Database, report: Report, tally: Tally) -> None:
        self._database = database
        self._report = report
        self._tally = tally
        self._validator = Validator()

    async def load(self, batch: Sequence[Row | Refusal]) -> None:
        """Loads the rows that can be, reports the others."""
        checked = [self._validator.check(row) for row in batch]
        self._refuse(result for result in checked if isinstance(result, Refusal))
        entries = [result for result in checked if isinstance(result, Entry)]
        await self._finish(entries, batch[-1].line)

    # Ctrl-C waits for the batch to be committed and counted: the tally is true in all cases.
    @uninterrupted
    async def _finish(self, entries: Sequence[Entry], last_line: int) -> None:
        if entries:
            await self._write(entries)
        self._tally.line = last_line

    async def _write(self, entries: Sequence[Entry]) -> None:
        try:
            results = await self._database.write(upsert, entries)
        except Exception as error:
            if not breaks_a_constraint(error):
                raise
            await self._isolate(entries, error)
            return
        self._tally.counts.update(result for result in results if not isinstance(result, Refusal))
        self._refuse(result for result in results if isinstance(result, Refusal))

    async def _isolate(self, entries: Sequence[Entry], error: Exception) -> None:
        """Halves the batch until the row that the database refuses is alone."""
        if len(entries) == 1:
            self._refuse([Refusal(entries[0].line, f"the database refuses it: {driver_error(error)}")])
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            await self._write(half)

    def _refuse(self, refusals: Iterable[Refusal]) -> None:
        for refusal in refusals:
            self._tally.counts["refused"] += 1
            self._report(refusal)


def load(
    database_url: str,
    rows: Iterator[Row | Refusal],
    tally: Tally,
    report: Report,
    advance: Callable[[], None],
) -> None:
    """Loads all rows; `advance` is called after each batch. However it ends, `tally` is true."""
    # The event loop turns for the database only: while a row is awaited, as from a pipe that has none
    # yet, Ctrl-C interrupts at once.
    with (
        asyncio.Runner() as runner,
        _opened(runner, database_url) as database,
        _errors_in_words(name_of(database_url)),
    ):
        loader = Loader(database, report, tally)
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            runner.run(loader.load(batch))
            advance()


@contextlib.contextmanager
def _opened(runner: asyncio.Runner, database_url: str) -> Iterator[Database]:
    if not is_postgresql(database_url) and not sqlite_file(database_url).exists():
        raise LoadError(f"database {name_of(database_url)} does not exist; {MIGRATE}")
    stack = contextlib.AsyncExitStack()
    try:
        database = runner.run(stack.enter_async_context(open_database(database_url)))
    except NotReadyError as error:
        raise LoadError(str(error)) from None
    try:
        yield database
    finally:
        runner.run(stack.aclose())


@contextlib.contextmanager
def _errors_in_words(database: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not from_database(error):
            raise
        if is_locked(error):
            raise LoadError(
                f"another process keeps the database {database} locked; end it, or try again when it is done"
            ) from None
        raise LoadError(f"the database {database} cannot be written: {driver_error(error)}") from None
