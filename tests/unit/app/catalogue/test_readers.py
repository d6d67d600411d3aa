import io
import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalogue.csv_reader import BROKEN_QUOTES, read_csv
from app.catalogue.lines import MAX_LINE_BYTES, Lines
from app.catalogue.ndjson_reader import read_ndjson
from app.catalogue.rows import CatalogueError, Refusal, Row

Reader = Callable[[Lines], Iterator[Row | Refusal]]


def csv_rows(text: str | bytes) -> list[Row | Refusal]:
    return list(read_csv(lines_of(text)))


def ndjson_rows(text: str | bytes) -> list[Row | Refusal]:
    return list(read_ndjson(lines_of(text)))


def lines_of(text: str | bytes) -> Lines:
    return Lines(io.BytesIO(text.encode() if isinstance(text, str) else text))


def test_csv_columns_may_come_in_any_order() -> None:
    assert csv_rows("quantity, name ,sku\n3,Anvil,A-1\n") == [
        Row(2, {"quantity": 3, "name": "Anvil", "sku": "A-1"})
    ]


def test_empty_csv_cell_clears_text_and_price_and_leaves_the_quantity_alone() -> None:
    assert csv_rows("sku,name,description,unit_price,quantity\nA,Anvil,, ,\n") == [
        Row(2, {"sku": "A", "name": "Anvil", "description": None, "unit_price": None})
    ]


def test_byte_order_mark_and_blank_lines_are_no_rows() -> None:
    assert csv_rows(b"\xef\xbb\xbfsku,name\r\n\r\nA,Anvil\r\n") == [Row(3, {"sku": "A", "name": "Anvil"})]
    assert ndjson_rows(b'\xef\xbb\xbf\n{"sku": "A"}\r\n  \n') == [Row(2, {"sku": "A"})]


def test_row_after_a_multi_line_cell_keeps_its_line_of_the_file() -> None:
    rows = csv_rows('sku,name\nA,"two\nlines"\nB,Bolt\n')

    assert [row.line for row in rows] == [2, 4]


def test_unclosed_quote_costs_its_own_line_and_no_row_below_it() -> None:
    rows = csv_rows('sku,name\nA,"Anvil\nB,Bolt\nC,Clamp\n')

    assert rows == [
        Refusal(2, BROKEN_QUOTES),
        Row(3, {"sku": "B", "name": "Bolt"}),
        Row(4, {"sku": "C", "name": "Clamp"}),
    ]


def test_quote_that_swallows_the_next_row_gives_it_back() -> None:
    rows = csv_rows('sku,name\nA,"Anvil\nB,"Bolt"\n')

    assert rows == [Refusal(2, BROKEN_QUOTES), Row(3, {"sku": "B", "name": "Bolt"})]


def test_over_long_line_inside_an_open_quote_is_refused_as_a_line_of_its_own() -> None:
    rows = csv_rows('sku,name\nA,"Anvil\n' + "x" * (MAX_LINE_BYTES + 1) + "\nB,Bolt\n")

    assert rows == [
        Refusal(2, BROKEN_QUOTES),
        Refusal(3, f"the line is longer than {MAX_LINE_BYTES} bytes"),
        Row(4, {"sku": "B", "name": "Bolt"}),
    ]


def test_quoted_row_longer_than_the_limit_is_not_collected_for_ever() -> None:
    cells = ('"' + "x" * 1000 + '\n",') * 1100

    rows = csv_rows(f"sku,name\n{cells}\nB,Bolt\n")

    assert rows[0] == Refusal(2, BROKEN_QUOTES)
    assert rows[-1] == Row(1103, {"sku": "B", "name": "Bolt"})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A", "the row has 1 cell, the header 3"),
        ("A,Anvil,1,2", "the row has 4 cells, the header 3"),
        ('A,"An"vil,1', BROKEN_QUOTES),
        ("A,An\rvil,1", "a carriage return is inside a cell; lines end with a line feed"),
        ("A,Anvil,1.5", 'quantity: "1.5" is not a whole number'),
        ("A,Anvil,\u0661", 'quantity: "\u0661" is not a whole number'),
        ("A,Anvil,\x1b[2J", 'quantity: "\\x1b[2J" is not a whole number'),
        ("A,Anvil," + "9" * 5000, f'quantity: "{"9" * 39}…" is not a whole number'),
        ("A," + "x" * 140_000 + ",1", "a cell is longer than 131072 characters"),
        ("A," + "x" * MAX_LINE_BYTES, f"the line is longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_bad_csv_row_is_refused_and_the_next_one_read(line: str, reason: str) -> None:
    rows = csv_rows(f"sku,name,quantity\n{line}\nB,Bolt,2\n")

    assert rows == [Refusal(2, reason), Row(3, {"sku": "B", "name": "Bolt", "quantity": 2})]


def test_csv_cell_that_is_not_utf8_is_refused_by_name() -> None:
    assert csv_rows(b"sku,name\nA,caf\xe9\nB,Bolt\n") == [
        Refusal(2, "name: is not UTF-8 text"),
        Row(3, {"sku": "B", "name": "Bolt"}),
    ]


@pytest.mark.parametrize(
    ("text", "sentence", "line"),
    [
        ("", "the file is empty; a CSV catalogue begins with the header line sku,name,", None),
        ("\n\n", "the file is empty", None),
        ("sku,name,colour,size\n", 'unknown columns in the header: "colour", "size"; ', 1),
        ("sku;name\n", 'unknown columns in the header: "sku;name"; ', 1),
        ("\nname,quantity\n", "the header lacks the column sku; ", 2),
        ("quantity\n", "the header lacks the column sku and name; ", 1),
        ("sku,name,sku\n", "the header names the column sku more than once", 1),
        (b"sku,name,\xff\n", "the header line is not UTF-8 text; save the file as UTF-8", 1),
        ("sku,name".encode("utf-16"), "the header line is not UTF-8 text; save the file as UTF-8", 1),
        ('sku,"name\n', "the header line cannot be read: broken quotes", 1),
        ("sku,name\rA,Anvil\r", "the header line cannot be read: a carriage return", 1),
    ],
)
def test_unusable_header_refuses_the_whole_file(text: str | bytes, sentence: str, line: int | None) -> None:
    with pytest.raises(CatalogueError) as refused:
        csv_rows(text)

    assert str(refused.value).startswith(sentence)
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"sku": "A"', "the line is not JSON: Expecting ',' delimiter at column 12"),
        ("[1, 2]", "the line is an array, where one JSON object is wanted"),
        ("null", "the line is null, where one JSON object is wanted"),
        ("7", "the line is a number, where one JSON object is wanted"),
        ('{"quantity": NaN}', "NaN is not JSON; write null or leave the field out"),
        ('{"quantity": -Infinity}', "-Infinity is not JSON; write null or leave the field out"),
        ('{"quantity": ' + "9" * 5000 + "}", "a number has too many digits"),
        ("[" * 100_000, "the JSON is nested too deeply; a row is one flat object"),
        (
            '{"colour": 1}',
            'unknown field "colour"; the fields are sku, name, description, unit_price, quantity',
        ),
        ('{"\\ud800": 1}', 'unknown field "\\ud800"; the fields are sku, name, '),
        ('{"sku": "A", "sku": "B"}', 'the field "sku" is in the line more than once'),
        ("x" * (MAX_LINE_BYTES + 1), f"the line is longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_bad_ndjson_line_is_refused_and_the_next_one_read(line: str, reason: str) -> None:
    refusal, row = ndjson_rows(f'{line}\n{{"sku": "B"}}\n')

    assert isinstance(refusal, Refusal)
    assert refusal.line == 1
    assert refusal.reason.startswith(reason)
    assert row == Row(2, {"sku": "B"})


def test_ndjson_line_that_is_not_utf8_is_refused() -> None:
    assert ndjson_rows(b'{"sku": "\xff"}\n') == [Refusal(1, "the line is not UTF-8 text")]


def test_empty_ndjson_refuses_the_whole_file() -> None:
    with pytest.raises(CatalogueError, match="the file is empty"):
        ndjson_rows("\n")


def test_consumed_bytes_add_up_to_the_file() -> None:
    text = "sku,name\nA,Anvil\n" + "x" * (3 * MAX_LINE_BYTES) + "\nB,Bolt"
    lines = lines_of(text)

    list(read_csv(lines))

    assert lines.consumed_bytes == len(text)


@pytest.mark.parametrize("reader", [read_csv, read_ndjson])
@settings(deadline=None)
@given(data=st.one_of(st.binary(), st.text().map(str.encode), st.binary().map(b"sku,name\n".__add__)))
def test_arbitrary_bytes_are_read_or_refused_in_words(reader: Reader, data: bytes) -> None:
    try:
        rows = list(reader(lines_of(data)))
    except CatalogueError as refused:
        rows = [Refusal(refused.line or 1, str(refused))]
    assert all(row.reason.isprintable() for row in rows if isinstance(row, Refusal))


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)))
def test_every_quoted_csv_row_is_read_back(names: list[str]) -> None:
    escaped = [name.replace('"', '""') for name in names]

    rows = csv_rows("sku,name\n" + "".join(f'A,"{name}"\n' for name in escaped))

    assert rows == [Row(line, {"sku": "A", "name": name}) for line, name in enumerate(names, start=2)]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["sku", "name", "quantity"]), st.none() | st.integers() | st.text()))
def test_every_ndjson_object_is_read_back(values: dict[str, object]) -> None:
    assert ndjson_rows(json.dumps(values)) == [Row(1, values)]
