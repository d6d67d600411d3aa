"""What `Database` asks of a backend, beyond what `databases` asks."""

import enum
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from databases.interfaces import ConnectionBackend, DatabaseBackend
from sqlalchemy.sql import ClauseElement

Query = ClauseElement | str
Values = Mapping[str, Any] | None
# Called on the event loop with what was measured: see docs/database.md for the names.
Observe = Callable[[str, float], None]


class Want(enum.Enum):
    """What a statement is run for."""

    ONE = enum.auto()
    ALL = enum.auto()
    RESULT = enum.auto()  # the new row's id, or the number of rows changed
    MANY = enum.auto()  # nothing: one statement, a list of arguments


class Runner:
    """Runs statements. A backend does so outside of any transaction, a session inside the one it has.

    Each says how, in the form of the interfaces of `databases`, beside which a backend stands.
    """

    async def run(self, query: Query, values: Values, want: Want) -> Any:
        raise NotImplementedError

    async def run_many(self, query: Query, values: Sequence[Mapping[str, Any]]) -> None:
        """All of them or none."""
        raise NotImplementedError

    def stream(self, query: Query, values: Values) -> AsyncGenerator[Any, None]:
        raise NotImplementedError

    async def batch(self, statements: Sequence[tuple[Query, Values]]) -> list[Any]:
        """Several statements in one commit, all of them or none: the result of each."""
        raise NotImplementedError


class Backend(Runner, DatabaseBackend):
    pass


class Session(Runner, ConnectionBackend):
    """What a task's Connection runs on; `databases`' own methods for compiled queries end here too."""

    async def fetch_all(self, query: ClauseElement) -> list[Any]:
        rows: list[Any] = await self.run(query, None, Want.ALL)
        return rows

    async def fetch_one(self, query: ClauseElement) -> Any:
        return await self.run(query, None, Want.ONE)

    async def execute(self, query: ClauseElement) -> Any:
        return await self.run(query, None, Want.RESULT)

    async def execute_many(self, queries: list[ClauseElement]) -> None:
        await self.batch([(query, None) for query in queries])

    async def iterate(self, query: ClauseElement) -> AsyncGenerator[Any, None]:
        async for record in self.stream(query, None):
            yield record


def ignore(name: str, value: float) -> None:
    """The Observe that observes nothing."""
