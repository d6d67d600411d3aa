"""Reads a CSV catalogue: a header line, then one item per row, commas between the cells."""

import csv
import re
from collections import deque
from collections.abc import Iterator

from app.catalogue.lines import MAX_LINE_BYTES, Line, Lines, is_utf8
from app.catalogue.rows import FIELDS, REQUIRED_FIELDS, CatalogueError, Refusal, Row, quoted

BROKEN_QUOTES = "broken quotes: a cell that opens with a quote ends with one, and a quote inside is doubled"
CLEARED_BY_EMPTY_CELL = ("description", "unit_price")
INTEGER_FIELDS = ("unit_price", "quantity")
# No bound of ours has more digits, and int() of thousands of them is slow or refused.
INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)


def read_csv(lines: Lines) -> Iterator[Row | Refusal]:
    """Yields every row in the order of the file; blank lines are no rows."""
    records = _records(lines)
    columns = _columns(next(records, None))
    for record in records:
        if isinstance(record, Refusal):
            yield record
        else:
            line, cells = record
            yield _row(line, columns, cells)


class _Feed(Iterator[str]):
    """Hands lines to csv.reader and remembers which of them make up the row being read."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._returned: deque[Line] = deque()
        self._row: list[Line] = []
        self._row_characters = 0

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self._row.append(line)
        self._row_characters += len(line.text)
        if line.too_long or self._row_characters > MAX_LINE_BYTES:
            raise csv.Error("line too long")
        return line.text

    def begin_row(self) -> None:
        self._row.clear()
        self._row_characters = 0

    def row_line(self) -> int:
        return self._row[0].number

    def refuse_row(self, error: csv.Error) -> Refusal:
        """Refuses the row's first line only: an unclosed quote must not swallow the rows below it."""
        first, *others = self._row
        self._returned.extendleft(reversed(others))
        return Refusal(first.number, _reason(first, spans_lines=bool(others), error=str(error)))


def _records(lines: Lines) -> Iterator[tuple[int, list[str]] | Refusal]:
    feed = _Feed(lines)
    parser = csv.reader(feed, strict=True)
    while True:
        feed.begin_row()
        try:
            cells = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            yield feed.refuse_row(error)
        else:
            if cells:
                yield feed.row_line(), cells


def _reason(line: Line, *, spans_lines: bool, error: str) -> str:
    if line.too_long:
        return f"the line is longer than {MAX_LINE_BYTES} bytes"
    if spans_lines or "expected after" in error or "unexpected end" in error:
        return BROKEN_QUOTES
    if "new-line character" in error:
        return "a carriage return is inside a cell; lines end with a line feed"
    if "field larger" in error:
        return f"a cell is longer than {csv.field_size_limit()} characters"
    return error


def _columns(header: tuple[int, list[str]] | Refusal | None) -> list[str]:
    expected = f"a CSV catalogue begins with the header line {','.join(FIELDS)} (the last three are optional)"
    if header is None:
        raise CatalogueError(f"the file is empty; {expected}")
    if isinstance(header, Refusal):
        raise CatalogueError(f"the header line cannot be read: {header.reason}", header.line)
    line, cells = header
    if not all(map(is_utf8, cells)):
        raise CatalogueError("the header line is not UTF-8 text; save the file as UTF-8", line)
    columns = [cell.strip() for cell in cells]
    if unknown := [quoted(column) for column in columns if column not in FIELDS]:
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise CatalogueError(f"unknown columns in the header: {shown}; {expected}", line)
    if missing := [column for column in REQUIRED_FIELDS if column not in columns]:
        raise CatalogueError(f"the header lacks the column {' and '.join(missing)}; {expected}", line)
    if twice := [column for column in FIELDS if columns.count(column) > 1]:
        raise CatalogueError(f"the header names the column {' and '.join(twice)} more than once", line)
    return columns


def _row(line: int, columns: list[str], cells: list[str]) -> Row | Refusal:
    if len(cells) != len(columns):
        return Refusal(line, f"the row has {_cells(len(cells))}, the header {len(columns)}")
    values: dict[str, object] = {}
    for column, cell in zip(columns, cells, strict=True):
        if not is_utf8(cell):
            return Refusal(line, f"{column}: is not UTF-8 text")
        text = cell.strip()
        if not text and column not in REQUIRED_FIELDS:
            if column in CLEARED_BY_EMPTY_CELL:
                values[column] = None
        elif column not in INTEGER_FIELDS:
            values[column] = cell
        elif INTEGER.fullmatch(text):
            values[column] = int(text)
        else:
            return Refusal(line, f"{column}: {quoted(text)} is not a whole number")
    return Row(line, values)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
