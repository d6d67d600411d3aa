"""Rows. A record is a tuple and a shape that its statement's rows share, so that it costs little to make."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from databases.interfaces import Record as RecordInterface
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import ResultColumnsEntry, _CompileLabel

Processor = Callable[[Any], Any]


class Shape:
    """The columns of a statement's rows, and what turns the driver's values into Python's."""

    __slots__ = ("by_column", "index", "names", "processors")

    def __init__(
        self,
        names: Sequence[str],
        entries: Sequence[ResultColumnsEntry] = (),
        processors: Sequence[tuple[int, Processor]] = (),
    ) -> None:
        self.names = tuple(names)
        self.index: dict[str, int] = {}
        for position, name in enumerate(self.names):
            self.index.setdefault(name, position)
        # Two tables may have a column of the same name: `str(column)` is "table.name".
        self.by_column = {_column_of(entry): position for position, entry in enumerate(entries)}
        self.processors = processors

    @classmethod
    def of(cls, entries: Sequence[ResultColumnsEntry], names: Sequence[str], dialect: Dialect) -> "Shape":
        """That of a statement's rows; `entries` are what its compiler knows of them."""
        if len(entries) != len(names):
            return cls(names)
        found = (
            (i, e[3].dialect_impl(dialect).result_processor(dialect, None)) for i, e in enumerate(entries)
        )
        return cls(names, entries, [(i, process) for i, process in found if process])

    def record(self, row: tuple[Any, ...]) -> "Record":
        return self.records((row,))[0]

    def records(self, rows: Iterable[tuple[Any, ...]]) -> "list[Record]":
        if not self.processors:
            return [Record(row, self) for row in rows]
        return [Record(self._processed(row), self) for row in rows]

    def _processed(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for position, process in self.processors:
            values[position] = process(values[position])
        return tuple(values)


def _column_of(entry: ResultColumnsEntry) -> str:
    objects = entry[2]
    return str(objects[2] if isinstance(objects[0], _CompileLabel) else objects[0])


class Record(RecordInterface):
    """A row that is read by position, name, column or attribute."""

    __slots__ = ("_row", "_shape")

    def __init__(self, row: tuple[Any, ...], shape: Shape) -> None:
        self._row = row
        self._shape = shape

    @property
    def _mapping(self) -> Mapping[str, Any]:
        # pydantic takes a Mapping for one only when it is registered as such; SQLAlchemy's row is not.
        shape = self._shape
        if len(shape.index) == len(shape.names):
            return dict(zip(shape.names, self._row, strict=True))
        return DuplicateNames(self)

    def keys(self) -> Any:
        return self._mapping.keys()

    def values(self) -> Any:
        return self._mapping.values()

    def __len__(self) -> int:
        return len(self._row)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._row)

    def __getitem__(self, key: Any) -> Any:
        if type(key) is str:
            return self._row[self._shape.index[key]]
        if isinstance(key, int | slice):
            return self._row[key]
        position = self._shape.by_column.get(str(key))
        return self._row[self._shape.index[key.name] if position is None else position]

    def __getattr__(self, name: str) -> Any:
        try:
            return self._row[self._shape.index[name]]
        except KeyError:
            raise AttributeError(name) from None

    def __eq__(self, other: object) -> bool:
        return self._row == (other._row if isinstance(other, Record) else other)

    def __hash__(self) -> int:
        return hash(self._row)

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{n}={v!r}' for n, v in zip(self._shape.names, self._row, strict=True))})"


class DuplicateNames(Mapping[str, Any]):
    """The mapping of a row in which names repeat: all are listed, each gives its first value."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getitem__(self, name: str) -> Any:
        return self._record[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record._shape.names)

    def __len__(self) -> int:
        return len(self._record)

    def keys(self) -> Any:
        return list(self)

    def values(self) -> Any:
        return list(self._record)

    def items(self) -> Any:
        return list(zip(self, self._record, strict=True))
