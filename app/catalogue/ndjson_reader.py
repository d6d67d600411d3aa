"""Reads an NDJSON catalogue: one JSON object a line."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn

from app.catalogue.lines import MAX_LINE_BYTES, Line, Lines, is_utf8
from app.catalogue.rows import FIELDS, CatalogueError, Refusal, Row, quoted

EXAMPLE = '{"sku": "A-1", "name": "Anvil"}'
KINDS = {list: "an array", str: "a string", bool: "true or false", int: "a number", float: "a number"}


def read_ndjson(lines: Lines) -> Iterator[Row | Refusal]:
    """Yields every row in the order of the file; blank lines are no rows."""
    empty = True
    for line in lines:
        if line.too_long or line.text.strip():
            empty = False
            yield _row(line)
    if empty:
        raise CatalogueError(
            'the file is empty; NDJSON is one object a line, as {"sku": "A-1", "name": "Anvil"}'
        )


def _row(line: Line) -> Row | Refusal:
    if line.too_long:
        return Refusal(line.number, f"the line is longer than {MAX_LINE_BYTES} bytes")
    if not is_utf8(line.text):
        return Refusal(line.number, "the line is not UTF-8 text")
    try:
        value = json.loads(
            line.text.strip(), parse_constant=_refuse_constant, object_pairs_hook=_without_repeats
        )
    except json.JSONDecodeError as error:
        return Refusal(line.number, f"the line is not JSON: {error.msg} at column {error.colno}")
    except _UnusableJSONError as error:
        return Refusal(line.number, str(error))
    except ValueError:  # the one left is the interpreter's limit on the digits of an integer
        return Refusal(line.number, "a number has too many digits")
    except RecursionError:
        return Refusal(line.number, "the JSON is nested too deeply; a row is one flat object")
    return _object(line.number, value)


def _object(line: int, value: object) -> Row | Refusal:
    if not isinstance(value, dict):
        kind = KINDS.get(type(value), "null")
        return Refusal(line, f"the line is {kind}, where one JSON object is wanted")
    if unknown := [quoted(key) for key in value if key not in FIELDS]:
        return Refusal(line, f"unknown field {unknown[0]}; the fields are {', '.join(FIELDS)}")
    return Row(line, value)


class _UnusableJSONError(Exception):
    """JSON that Python would read, but not as its writer meant it."""


def _refuse_constant(name: str) -> NoReturn:
    raise _UnusableJSONError(f"{name} is not JSON; write null or leave the field out")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _UnusableJSONError(f"the field {quoted(repeated)} is in the line more than once")
    return values
