"""Statements and rows: queries become SQL and arguments, compiled once; the driver's rows become records.

Compiling costs more than running: 20 us for a string, 60 us for a Core statement, of a read that takes 10.
"""

import enum
import inspect
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.ddl import DDLElement
from sqlalchemy.util import LRUCache

from durable_database.errors import refuse_control

CACHED_STATEMENTS = 1000
READS = frozenset(("SELECT", "VALUES", "EXPLAIN", "WITH"))
# Drivers take these as they are.
PLAIN = frozenset((int, str, float, bytes, bool, type(None)))

Query = ClauseElement | str
Values = Mapping[str, Any] | None


class Want(enum.Enum):
    """What a caller wants from a statement: rows, one row, a value, a count."""

    ONE = enum.auto()
    ALL = enum.auto()
    RESULT = enum.auto()  # the new row's id, or the number of rows changed
    MANY = enum.auto()  # nothing: one statement, a list of arguments


class Record(sa.Row[Any]):
    """A row that is read by position, name, column or attribute, as that of `databases`."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | slice):
            return self._data[key]
        position = self._key_to_index.get(key)
        return self._data[self._key_to_index[getattr(key, "name", key)] if position is None else position]

    @property
    def _mapping(self) -> Any:
        # pydantic takes a dict as it is; SQLAlchemy's mapping is for names that repeat.
        names = self._parent._keys
        mapping = dict(zip(names, self._data, strict=True))
        return mapping if len(mapping) == len(names) else super()._mapping

    def keys(self) -> Any:
        return self._mapping.keys()

    def values(self) -> Any:
        return self._mapping.values()


class Plan:
    """One statement, compiled, and what was learnt by running it."""

    def __init__(self, sql: str, names: Iterable[str] | None = None, compiled: Any = None) -> None:
        refuse_control(sql)
        word = sql.lstrip(" \n\t(").partition(" ")[0].split("\n")[0].upper()
        self.sql = sql
        self.names = tuple(names or ())  # of the arguments, in their order
        self.writes = word not in READS
        self.inserts = word in ("INSERT", "REPLACE")
        self.over_budget = False  # it was too much for the event loop
        self._columns = getattr(compiled, "_result_columns", None) or ()
        self._processors = [
            each.type.dialect_impl(compiled.dialect).result_processor(compiled.dialect, None)
            for each in self._columns
        ]
        self._described: tuple[Any, Any] = (None, (None, None, {}))
        self.returns = not self.writes or bool(self._columns) or "returning" in sql.lower()

    def records(self, description: Any, rows: Iterable[Any]) -> list[Record]:
        """`description` is what the driver says of the columns: their names, or what begins with those."""
        # Compared each time: a migration may change the columns of `SELECT *` under way.
        described, shape = self._described
        if described != description:
            self._described = description, (shape := self._shape(description))
        parent, processors, index = shape
        return [Record(parent, processors, index, row) for row in rows]

    def _shape(self, description: Any) -> tuple[Any, Any, dict[Any, int]]:
        names = [each if isinstance(each, str) else each[0] for each in description]
        known = len(self._columns) == len(names)
        index: dict[Any, int] = {}
        for position, name in enumerate(names):
            index.setdefault(name, position)  # of names that repeat, the first
        for position, column in enumerate(self._columns if known else ()):
            for key in column.objects:
                index.setdefault(key, position)
        processors = self._processors if known and any(self._processors) else None
        return SimpleResultMetaData(names), processors, index


class Statement(NamedTuple):
    plan: Plan
    arguments: Any  # a tuple, with Want.MANY a list of them
    want: Want

    @property
    def writes(self) -> bool:
        return self.plan.writes


class Batch(NamedTuple):
    """Writes that are stored all or not at all."""

    statements: Sequence[Statement]
    writes: bool = True


class Call(NamedTuple):
    """A transaction that is a function of a SQLAlchemy connection."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    writes: bool

    def run(self, connection: sa.Connection) -> Any:
        """What the function returns, unless that is of use only where the function ran."""
        value = self.function(connection, *self.arguments, **self.keywords)
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(
                "the function returned a coroutine; what runs where the connection is awaits nothing"
            )
        if isinstance(value, sa.Result):
            raise TypeError(
                "the function returned a Result, which ends with its transaction; return its rows"
            )
        return value


Work = Statement | Batch | Call


class Compiler:
    """Used on the event loop only."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._by_text: dict[str, Plan] = {}
        self._cache: LRUCache[Any, Any] = LRUCache(CACHED_STATEMENTS)
        self._by_compiled: weakref.WeakKeyDictionary[Any, _Core] = weakref.WeakKeyDictionary()
        self._binders: dict[type, Callable[[Any], Any] | None] = {}

    def statement(self, query: Query, values: Values, want: Want) -> Statement:
        if type(query) is str:
            plan = self._by_text.get(query)
            if plan is None:
                compiled: Any = sa.text(query).compile(dialect=self.dialect)
                plan = self._remember(query, Plan(compiled.string, compiled.positiontup, compiled))
            return Statement(plan, self._of_text(plan, values) if plan.names else (), want)
        if isinstance(query, DDLElement):
            return Statement(Plan(str(query.compile(dialect=self.dialect))), (), want)
        return Statement(*self._of_core(query, values), want)

    def batch(self, statements: Iterable[tuple[Query, Values]]) -> Batch:
        return Batch([self.statement(*each, Want.RESULT) for each in statements])

    def many(self, query: Query, values: Iterable[Mapping[str, Any]]) -> Batch:
        each = [self.statement(query, row, Want.RESULT) for row in values]
        if any(one.plan is not each[0].plan for one in each):  # they set different columns
            return Batch(each)
        return Batch([Statement(each[0].plan, [one.arguments for one in each], Want.MANY)])

    def _remember(self, text: str, plan: Plan) -> Plan:
        if len(self._by_text) >= CACHED_STATEMENTS:
            self._by_text.clear()
        self._by_text[text] = plan
        return plan

    def _of_text(self, plan: Plan, values: Values) -> tuple[Any, ...]:
        values = values or {}
        try:
            arguments = tuple([values[name] for name in plan.names])
        except KeyError as error:
            raise sa.exc.ArgumentError(f"the values lack {error}, which is in: {plan.sql}") from None
        for value in arguments:
            if type(value) not in PLAIN:
                return tuple([self._bound(value) for value in arguments])
        return arguments

    def _bound(self, value: Any) -> Any:
        """Binds values by their type, as `text().bindparams()` does, so that dates are stored alike."""
        kind = type(value)
        if kind not in self._binders:
            column = sa.literal(value).type
            self._binders[kind] = column.dialect_impl(self.dialect).bind_processor(self.dialect)
        process = self._binders[kind]
        return process(value) if process else value

    def _of_core(self, query: Any, values: Values) -> tuple[Plan, tuple[Any, ...]]:
        # SQLAlchemy's own cache of compiled statements, which its engines use.
        compiled, extracted, collected, _ = query._compile_w_cache(
            dialect=self.dialect, compiled_cache=self._cache, column_keys=list(values or ())
        )
        core = self._by_compiled.get(compiled)
        if core is None:
            core = self._by_compiled[compiled] = _Core(compiled)
        if values and core.binds and all(key in values for key, _ in core.binds):
            arguments = [bind(values[key]) if bind else values[key] for key, bind in core.binds]
            return core.plan, tuple(arguments)
        parameters = compiled.construct_params(
            dict(values or {}),
            extracted_parameters=extracted,
            escape_names=False,
            _collected_params=collected,
        )
        plan, processors = core.plan, compiled._bind_processors
        if core.expands:  # `IN (...)` has as many parameters as values
            state = compiled._process_parameters_for_postcompile(parameters)
            plan = self._by_text.get(state.statement) or self._remember(
                state.statement, Plan(state.statement, state.positiontup, compiled)
            )
            processors = {**processors, **state.processors}
            parameters = {**parameters, **state.additional_parameters}
        binds = [(parameters[name], processors.get(name)) for name in plan.names]
        return plan, tuple([bind(value) if bind else value for value, bind in binds])


class _Core:
    """A compiled Core statement's plan, and from which of the caller's values its arguments come."""

    def __init__(self, compiled: Any) -> None:
        # Nothing here may hold `compiled`, which is the key of a WeakKeyDictionary.
        self.plan = Plan(compiled.string, compiled.positiontup, compiled)
        self.expands = bool(
            compiled._render_postcompile or compiled.post_compile_params or compiled.literal_execute_params
        )
        keys = {name: bind.key for bind, name in compiled.bind_names.items()}
        processors = compiled._bind_processors
        names = () if self.expands else self.plan.names
        self.binds = [(keys[name], processors.get(name)) for name in names]


def run(raw: sqlite3.Connection, statement: Statement) -> Any:
    """Runs the statement on SQLite: executes, fetches and resets in one go."""
    plan, arguments, want = statement
    if want is Want.MANY:
        raw.executemany(plan.sql, arguments).close()
        return None
    cursor = raw.execute(plan.sql, arguments)
    # Closed before this ends, always: an open cursor pins the snapshot of its whole connection.
    try:
        if want is Want.ONE:
            row = cursor.fetchone()
            if plan.writes and row is not None:
                cursor.fetchall()  # INSERT ... RETURNING ends, and can fail, only after its last row
            return None if row is None else plan.records(cursor.description, (row,))[0]
        if want is Want.ALL:
            return plan.records(cursor.description, cursor.fetchall())
        if cursor.description is not None:
            cursor.fetchall()
        # `lastrowid` outlives its statement: after an UPDATE it is still that of an earlier INSERT.
        return cursor.lastrowid if plan.inserts and cursor.rowcount else cursor.rowcount
    finally:
        cursor.close()
