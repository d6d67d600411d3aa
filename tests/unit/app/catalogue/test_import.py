"""`python -m app import` and `demo-data`, on a real database file."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from app.__main__ import cli
from app.catalogue import debian
from app.catalogue.loader import BATCH_ROWS
from tests.support.databases import query

Import = Callable[..., Result]
ROOT = Path(__file__).parents[4]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Import:
    monkeypatch.setenv("SHOP_DATABASE_URL", database_url)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments)

    return run


@pytest.fixture
def import_csv(run: Import, tmp_path: Path) -> Import:
    def import_csv(content: str | bytes) -> Result:
        path = tmp_path / "shop.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return run("import", str(path))

    return import_csv


def books_balance(database_url: str) -> bool:
    unbalanced = """SELECT items.id FROM items LEFT JOIN movements ON item_id = items.id
        GROUP BY items.id HAVING items.quantity <> coalesce(sum(delta), 0)"""
    return not query(database_url, unbalanced)


def test_rows_are_created_with_their_stock_and_the_second_time_nothing_is_written(
    import_csv: Import, database_url: str
) -> None:
    catalogue = "sku,name,unit_price,quantity\nA,Anvil,250,4\nB,Bolt,,\n"

    first, second = import_csv(catalogue), import_csv(catalogue)

    assert (first.exit_code, first.stdout) == (0, "2 created, 0 updated, 0 unchanged, 0 refused\n")
    assert (second.exit_code, second.stdout) == (0, "0 created, 0 updated, 2 unchanged, 0 refused\n")
    assert query(database_url, "SELECT sku, name, unit_price, quantity, version FROM items ORDER BY id") == [
        ("A", "Anvil", 250, 4, 1),
        ("B", "Bolt", None, 0, 1),
    ]
    assert query(database_url, "SELECT delta, reason, quantity FROM movements") == [(4, "receipt", 4)]


def test_a_known_sku_is_updated_where_it_differs_and_the_difference_is_booked(
    import_csv: Import, database_url: str
) -> None:
    import_csv("sku,name,description,quantity\nA,Anvil,Heavy,4\nB,Bolt,Small,1\n")

    result = import_csv("sku,name,quantity\nA,Anvil XL,1\nB,Bolt,1\n")

    assert result.stdout == "0 created, 1 updated, 1 unchanged, 0 refused\n"
    assert query(
        database_url, "SELECT name, description, quantity, version, search FROM items ORDER BY id"
    ) == [
        ("Anvil XL", "Heavy", 1, 2, "a anvil xl"),
        ("Bolt", "Small", 1, 1, "b bolt"),
    ]
    assert query(database_url, "SELECT delta, reason FROM movements WHERE item_id = 1") == [
        (4, "receipt"),
        (-3, "correction"),
    ]
    assert books_balance(database_url)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (",No SKU,1,1", "2: sku: string should have at least 1 character"),
        ("A B,Space,1,1", "2: sku: it must be visible ASCII characters without spaces"),
        ("A,,1,1", "2: name: string should have at least 1 character"),
        ("A,Anvil,nan,1", '2: unit_price: "nan" is not a whole number'),
        ("A,Anvil,-1,1", "2: unit_price: input should be greater than or equal to 0"),
        ("A,Anvil,1,-1", "2: quantity: input should be greater than or equal to 0"),
        ("A,Anvil,1,9000000000000000", "2: quantity: 9000000000000000 takes a movement of 9000000000000000;"),
        ("A,Anvil,1", "2: "),
        ("A,Anvil,1,1,extra", "2: "),
        ("A,An\0vil,1,1", "2: "),
        (f"A,Anvil,1,{'9' * 5000}", "2: "),
    ],
)
def test_a_bad_row_is_named_and_the_others_load(
    import_csv: Import, database_url: str, row: str, sentence: str
) -> None:
    result = import_csv(f"sku,name,unit_price,quantity\n{row}\nZ,Last,5,2\n")

    assert result.exit_code == 1
    assert f"shop.csv:{sentence}" in result.stderr
    assert result.stdout == "1 created, 0 updated, 0 unchanged, 1 refused\n"
    assert query(database_url, "SELECT sku, quantity FROM items") == [("Z", 2)]


def test_the_second_row_with_a_sku_is_refused_with_the_line_of_the_first(
    import_csv: Import, database_url: str
) -> None:
    result = import_csv('sku,name\nA,"An\nvil"\nB,Bolt\nA,Axe\nB,Bar\n')

    # The first row's name holds a line break, which no item may have: its SKU is free.
    assert "shop.csv:6: sku: B is in line 4 already, and that line counts" in result.stderr
    assert result.stdout == "2 created, 0 updated, 0 unchanged, 2 refused\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing.csv",), "missing.csv cannot be read: No such file or directory"),
        ((str(ROOT), "--format", "csv"), "cannot be read: Is a directory"),
        (
            ("shop.xlsx",),
            "the name of shop.xlsx does not tell its format; add --format csv or --format ndjson",
        ),
        (("-",), "the name of standard input does not tell its format"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(
    run: Import, arguments: tuple[str, ...], sentence: str
) -> None:
    result = run("import", *arguments)

    assert result.exit_code == 1
    assert sentence in result.output


@pytest.mark.parametrize("content", ["", "name\nAnvil\n", "sku,name,colour\nA,Anvil,red\n", b"\xff\xfe\0s"])
def test_a_file_that_is_no_catalogue_is_refused_whole(
    import_csv: Import, database_url: str, content: str | bytes
) -> None:
    result = import_csv(content)

    assert result.exit_code == 1
    assert "shop.csv" in result.stderr
    assert query(database_url, "SELECT count(*) FROM items") == [(0,)]


def test_an_unmigrated_database_says_what_to_run(import_csv: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "sqlite:///nowhere/none.db")

    result = import_csv("sku,name\nA,Anvil\n")

    assert result.exit_code == 1
    assert "run: python -m app migrate" in result.stderr


def test_ndjson_is_held_to_the_same_rules(run: Import, database_url: str, tmp_path: Path) -> None:
    lines = [
        '{"sku": "A", "name": "Anvil", "quantity": 2}',
        "[]",
        '{"sku": "B"}',
        '{"sku": "C", "name": "C"}',
    ]

    (tmp_path / "shop.ndjson").write_text("\n".join(lines))
    result = run("import", str(tmp_path / "shop.ndjson"))

    assert result.stdout == "2 created, 0 updated, 0 unchanged, 2 refused\n"
    assert "shop.ndjson:2: " in result.stderr
    assert "shop.ndjson:3: name: it is required" in result.stderr
    assert books_balance(database_url)


TEXT = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20).filter(str.strip)
SKU = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
ITEM = st.fixed_dictionaries(
    {"sku": SKU, "name": TEXT},
    optional={
        "description": st.none() | TEXT,
        "unit_price": st.none() | st.integers(0, 10**12),
        "quantity": st.integers(0, 10**9),
    },
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ITEM, min_size=1, max_size=30))
def test_whatever_is_loaded_is_counted_and_read_back_as_it_was(
    run: Import, database_url: str, tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    (tmp_path / "shop.ndjson").write_text("\n".join(map(json.dumps, rows)))
    result = run("import", str(tmp_path / "shop.ndjson"))

    counted = sum(int(part.split()[0].replace(",", "")) for part in result.stdout.split(", "))
    assert counted == len(rows)
    stored = dict(query(database_url, "SELECT sku, name FROM items"))
    firsts = {row["sku"]: row for row in reversed(rows)}
    assert {sku: stored[sku] for sku in firsts} == {
        sku: str(row["name"]).strip() for sku, row in firsts.items()
    }
    assert books_balance(database_url)


def test_ctrl_c_leaves_whole_batches_and_says_how_far_it_got(database_url: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "import", "-", "--format", "ndjson"],
        env=os.environ | {"SHOP_DATABASE_URL": database_url},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    for number in range(BATCH_ROWS + 50):
        process.stdin.write(json.dumps({"sku": f"S{number}", "name": "N"}) + "\n")
    process.stdin.flush()
    deadline = time.monotonic() + 90
    while query(database_url, "SELECT count(*) FROM items") != [(BATCH_ROWS,)]:
        assert time.monotonic() < deadline, "the first batch was not committed"
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=90)

    assert process.returncode == 130
    assert stdout == f"{BATCH_ROWS} created, 0 updated, 0 unchanged, 0 refused\n"
    assert f"interrupted; stdin is loaded up to line {BATCH_ROWS}" in stderr
    assert "Traceback" not in stderr
    assert query(database_url, "SELECT count(*) FROM items") == [(BATCH_ROWS,)]


@pytest.mark.sqlite
def test_a_database_that_stays_locked_ends_in_one_sentence(import_csv: Import, database_url: str) -> None:
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        result = import_csv("sku,name\nA,Anvil\n")
    finally:
        other.close()

    assert result.exit_code == 1
    assert "another process keeps the database" in result.stderr
    assert result.stdout == "0 created, 0 updated, 0 unchanged, 0 refused\n"


def test_demo_data_fills_a_new_database_with_packages_once(
    tmp_path: Path, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not debian.shutil.which("dpkg-query"):
        pytest.skip("demo-data is made of Debian packages")
    url = f"sqlite:///{tmp_path}/new/demo.db"
    monkeypatch.setenv("SHOP_DATABASE_URL", url)

    first, second = run("demo-data", "--count", "60"), run("demo-data", "--count", "60")

    assert first.stdout == "60 created, 0 updated, 0 unchanged, 0 refused\n", first.output
    assert second.stdout == "0 created, 0 updated, 60 unchanged, 0 refused\n"
    [(name, sku)] = query(url, "SELECT name, sku FROM items WHERE sku = 'apt'")
    assert str(name).startswith(f"{sku} ")
    assert query(url, "SELECT count(*) FROM items WHERE quantity = 0") == [(0,)]
    assert books_balance(url)


def test_demo_data_without_dpkg_offers_the_import(run: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    result = run("demo-data")

    assert result.exit_code == 1
    assert "this machine has no dpkg" in result.stderr
    assert "python -m app import FILE" in result.stderr
