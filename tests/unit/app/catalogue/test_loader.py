"""How rows reach the database: batches, what it refuses, and the service that writes beside them."""

import contextlib
import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.catalogue.csv_reader import read_csv
from app.catalogue.lines import Lines
from app.catalogue.loader import BATCH_ROWS, LoadError, Tally, load
from app.catalogue.rows import Refusal, Row

pytestmark = pytest.mark.sqlite


@pytest.fixture
def refusals() -> list[Refusal]:
    return []


@pytest.fixture
def connection(database_url: str) -> Iterator[sqlite3.Connection]:
    path = database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def rows(count: int, **values: object) -> Iterator[Row]:
    return (Row(n, {"sku": f"S{n}", "name": f"Item {n}"} | values) for n in range(1, count + 1))


def load_rows(url: str, rows: Iterator[Row | Refusal], refusals: list[Refusal]) -> Tally:
    tally = Tally()
    load(url, rows, tally, refusals.append, lambda: None)
    return tally


def test_row_that_the_database_refuses_is_the_only_one_of_its_batch_left_out(
    database_url: str, connection: sqlite3.Connection, refusals: list[Refusal]
) -> None:
    connection.execute(
        "CREATE TRIGGER fussy BEFORE INSERT ON items WHEN new.sku = 'S7' "
        "BEGIN SELECT RAISE(ABORT, 'no S7'); END"
    )

    tally = load_rows(database_url, rows(20, quantity=2), refusals)

    assert str(tally) == "19 created, 0 updated, 0 unchanged, 1 refused"
    assert refusals == [Refusal(7, "the database refuses it: no S7")]
    assert connection.execute("SELECT count(*), sum(delta) FROM movements").fetchone() == (19, 38)


def test_stock_that_one_movement_cannot_reach_is_refused_with_the_numbers(
    database_url: str, connection: sqlite3.Connection, refusals: list[Refusal]
) -> None:
    load_rows(database_url, rows(1, quantity=5), refusals)

    load_rows(database_url, rows(2, quantity=3 * 10**9), refusals)

    assert [refusal.line for refusal in refusals] == [1, 2]
    assert refusals[0].reason.startswith("quantity: 3000000000 takes a movement of 2999999995; delta: ")
    assert connection.execute("SELECT sku, quantity FROM items").fetchall() == [("S1", 5)]


def test_null_quantity_leaves_the_stock_alone_and_null_price_clears_it(
    database_url: str, connection: sqlite3.Connection, refusals: list[Refusal]
) -> None:
    load_rows(database_url, rows(1, quantity=5, unit_price=7), refusals)

    tally = load_rows(database_url, rows(1, quantity=None, unit_price=None), refusals)

    assert str(tally) == "0 created, 1 updated, 0 unchanged, 0 refused"
    assert connection.execute("SELECT quantity, unit_price, version FROM items").fetchone() == (5, None, 2)
    assert connection.execute("SELECT count(*) FROM movements").fetchone() == (1,)


def test_each_batch_is_committed_before_the_next_row_is_read(
    database_url: str, connection: sqlite3.Connection, refusals: list[Refusal]
) -> None:
    committed: list[int] = []

    def watched() -> Iterator[Row]:
        for row in rows(2 * BATCH_ROWS + 1):
            if row.line % BATCH_ROWS == 1:
                committed.append(connection.execute("SELECT count(*) FROM items").fetchone()[0])
            yield row

    load_rows(database_url, watched(), refusals)

    assert committed == [0, BATCH_ROWS, 2 * BATCH_ROWS]


def test_lock_that_falls_between_two_batches_leaves_the_tally_true(
    database_url: str, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_database.sqlite.BUSY_MILLISECONDS", 50)
    tally = Tally()

    def lock() -> None:
        connection.execute("BEGIN IMMEDIATE")

    with pytest.raises(LoadError, match=r"another process keeps the database .* locked"):
        load(database_url, rows(2 * BATCH_ROWS), tally, lambda refusal: None, lock)

    assert (tally.line, str(tally)) == (
        BATCH_ROWS,
        f"{BATCH_ROWS} created, 0 updated, 0 unchanged, 0 refused",
    )
    assert connection.execute("SELECT count(*) FROM items").fetchone() == (BATCH_ROWS,)


def test_database_that_cannot_be_written_is_told_in_one_sentence(
    database_url: str, connection: sqlite3.Connection, refusals: list[Refusal]
) -> None:
    connection.execute("DROP TABLE movements")

    with pytest.raises(LoadError, match="cannot be written: no such table: movements"):
        load_rows(database_url, rows(3), refusals)

    assert connection.execute("SELECT count(*) FROM items").fetchone() == (0,)


def test_missing_database_is_not_created(tmp_path: Path, refusals: list[Refusal]) -> None:
    with pytest.raises(LoadError, match=r"none\.db does not exist; run: python -m app migrate"):
        load_rows(f"sqlite:///{tmp_path}/none.db", rows(1), refusals)

    assert not (tmp_path / "none.db").exists()


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30).map(str.strip)
PRICE = st.none() | st.integers(0, 10**12)
ITEMS = st.dictionaries(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64),
    st.tuples(PRINTABLE.filter(bool), PRINTABLE.map(lambda text: text or None), PRICE, st.integers(0, 10**9)),
    min_size=1,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ITEMS)
def test_items_written_as_csv_are_read_back_equal_and_unchanged_the_second_time(
    database_url: str, connection: sqlite3.Connection, items: dict[str, tuple[object, ...]]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([("sku", "name", "description", "unit_price", "quantity")])
    writer.writerows((sku, *values) for sku, values in items.items())
    refusals: list[Refusal] = []

    def load_again() -> Tally:
        return load_rows(database_url, read_csv(Lines(io.BytesIO(text.getvalue().encode()))), refusals)

    load_again()

    assert load_again().counts == {"unchanged": len(items)}
    stored = connection.execute("SELECT sku, name, description, unit_price, quantity FROM items")
    assert {sku: tuple(values) for sku, *values in stored if sku in items} == items
    unbalanced = (
        "SELECT 1 FROM items WHERE quantity <> (SELECT total(delta) FROM movements WHERE item_id = items.id)"
    )
    assert connection.execute(unbalanced).fetchall() == []
    assert refusals == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["sku", "name", "quantity"]), st.none() | st.integers() | st.text())
    )
)
def test_whatever_the_values_every_row_is_counted_once(
    database_url: str, values: list[dict[str, object]]
) -> None:
    refusals: list[Refusal] = []

    tally = load_rows(database_url, (Row(n, value) for n, value in enumerate(values, 1)), refusals)

    assert tally.counts.total() == len(values)
    assert tally.counts["refused"] == len(refusals)
    assert all(refusal.reason.isprintable() for refusal in refusals)
