"""Who may write, with keys made by the operator's own command."""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import Result

from app.keys.access import FAILURES, Failures
from app.keys.file import KeysError, load
from app.main import create_app
from app.settings import Settings

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).parents[3]
ITEM = {"sku": "TEA", "name": "Tea"}
WRITES = [
    ("POST", "/items"),
    ("PATCH", "/items/1"),
    ("DELETE", "/items/1"),
    ("POST", "/items/1/movements"),
]
READS = [("GET", "/items"), ("GET", "/items/1"), ("GET", "/items/1/movements"), ("GET", "/items/1/label.svg")]


def coachman(*arguments: str, file: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coachman", "keys", *arguments],
        cwd=folder,
        env=os.environ | {"SHOP_KEYS_FILE": str(file), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "keys"


@pytest.fixture
def keys(file: Path, run_command: Callable[..., Result]) -> Callable[..., Result]:
    """Runs what `coachman keys` runs, in this process."""
    return functools.partial(run_command, "keys", keys_file=file)


@pytest.fixture
def writer(keys: Callable[..., Result]) -> str:
    return keys("add", "shop").stdout.strip()


@pytest.fixture
def reader(keys: Callable[..., Result]) -> str:
    return keys("add", "reports", "--scope", "read").stdout.strip()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_writes_and_nothing_else_does(settings: Settings, file: Path, writer: str, reader: str) -> None:
    keyed = settings.model_copy(update={"keys_file": file})
    with TestClient(create_app(keyed)) as client:
        for method, path in WRITES:
            assert client.request(method, path, json=ITEM).status_code == 401
            assert client.request(method, path, json=ITEM, headers=bearer("wrong")).status_code == 401
            assert client.request(method, path, json=ITEM, headers=bearer(reader)).status_code == 403
            assert (
                client.request(method, path, headers={"Authorization": f"Basic {writer}"}).status_code == 401
            )
        assert client.get("/items").json()["items"] == []

        assert client.post("/items", json=ITEM, headers=bearer(writer)).status_code == 201
        assert client.get("/items").status_code == 200
        unauthorized = client.post("/items", json=ITEM)
        assert unauthorized.headers["www-authenticate"] == "Bearer"
        assert unauthorized.json()["detail"] == "This needs a key; send it as Authorization: Bearer KEY."


def test_keys_may_be_wanted_for_reading_too(settings: Settings, file: Path, reader: str) -> None:
    keyed = settings.model_copy(update={"keys_file": file, "keys_for": "all"})
    with TestClient(create_app(keyed)) as client:
        for method, path in READS:
            assert client.request(method, path).status_code == 401, path
            assert client.request(method, path, headers=bearer(reader)).status_code in (200, 404), path


def test_keys_may_be_wanted_for_nothing(settings: Settings, file: Path, writer: str) -> None:
    open_to_all = settings.model_copy(update={"keys_file": file, "keys_for": "nothing"})
    with TestClient(create_app(open_to_all)) as client:
        assert client.post("/items", json=ITEM).status_code == 201


def test_a_revoked_key_is_unknown_to_the_next_worker(
    settings: Settings, file: Path, writer: str, keys: Callable[..., Result]
) -> None:
    keys("add", "other")
    assert keys("revoke", "shop").exit_code == 0
    with TestClient(create_app(settings.model_copy(update={"keys_file": file}))) as client:
        assert client.post("/items", json=ITEM, headers=bearer(writer)).status_code == 401


def test_many_unknown_keys_are_answered_with_429_and_a_right_one_is_not(
    settings: Settings, file: Path, writer: str, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(settings.model_copy(update={"keys_file": file}))) as client:
        statuses = [
            client.post("/items", json=ITEM, headers=bearer(f"guess-{number}")).status_code
            for number in range(FAILURES + 5)
        ]
        assert statuses == [401] * FAILURES + [429] * 5
        assert client.post("/items", json=ITEM, headers=bearer(writer)).status_code == 201

    refusals = [record.getMessage() for record in caplog.records if "unknown key" in record.getMessage()]
    assert len(refusals) == FAILURES
    assert not any("guess" in line for line in refusals)


def test_the_memory_of_failures_is_bounded() -> None:
    failures = Failures()
    for number in range(5000):
        failures.are_too_many(str(number))

    assert len(failures._recent) <= 1000


def test_the_file_keeps_no_key_and_is_not_for_everybody(file: Path, writer: str) -> None:
    text = file.read_text()

    assert writer not in text
    assert re.fullmatch(r"shop write [0-9a-f]{64} \d{4}-\d\d-\d\d\n", text)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["keys"]


def test_the_operators_command_makes_a_key_and_says_what_is_wrong_in_one_sentence(file: Path) -> None:
    made = coachman("add", "shop", file=file)
    assert (made.returncode, made.stderr.strip()) == (
        0,
        f"This is shown once: {file} keeps its hash. The service accepts it from its next reload on.",
    )
    assert [key.name for key in load(file)] == ["shop"]

    refused = coachman("add", "shop", file=file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "There is a key shop already; revoke it first, or take another name.\n"


def test_the_command_says_what_is_wrong_and_changes_nothing(
    file: Path, writer: str, keys: Callable[..., Result]
) -> None:
    before = file.read_text()
    for arguments, sentence in (
        (("add", "shop"), "There is a key shop already; revoke it first, or take another name."),
        (("add", "No Name"), "'No Name' is refused: a name has up to 40 of a-z, 0-9, '.', '_' and '-'."),
        (("revoke", "none"), f"There is no key none in {file}; `coachman keys list` shows those there are."),
    ):
        done = keys(*arguments)
        assert (done.exit_code, done.output.strip()) == (1, sentence)
    assert file.read_text() == before
    assert "shop" in keys("list").stdout


def test_a_broken_file_is_refused_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "keys"
    broken.write_text("# of the shop\n\nshop write abc 2026-01-01\n")

    with pytest.raises(KeysError, match="line 3 is no key"):
        load(broken)


BY_HAND = f"""# reports, ask Eva
  # and this one, indented

web write {"a" * 64}
reports read {"B" * 64} 2026-01-01  # Eva's
partner read {"c" * 64} 2026-01-02 by Ann, for the fair"""


def test_a_change_leaves_comments_and_the_lines_of_other_keys_as_they_are(
    file: Path, keys: Callable[..., Result]
) -> None:
    file.parent.mkdir()
    file.write_text(BY_HAND)

    assert keys("add", "other").exit_code == 0
    kept, _, added = file.read_text().rstrip().rpartition("\n")
    assert kept == BY_HAND
    assert re.fullmatch(r"other write [0-9a-f]{64} \d{4}-\d\d-\d\d", added)

    assert keys("revoke", "other").exit_code == 0
    assert file.read_text() == f"{BY_HAND}\n"

    assert keys("revoke", "web").exit_code == 0
    assert file.read_text() == f"{BY_HAND}\n".replace(f"web write {'a' * 64}\n", "")
    assert [key.name for key in load(file)] == ["reports", "partner"]


@pytest.mark.parametrize(
    "line", ["shop", "shop write", f"shop admin {'a' * 64} 2026-01-01", f"shop write {'x' * 64} 2026-01-01"]
)
@pytest.mark.parametrize("arguments", [("add", "other"), ("revoke", "web")])
def test_a_line_that_is_no_key_is_refused_and_nothing_is_changed(
    file: Path, keys: Callable[..., Result], line: str, arguments: tuple[str, str]
) -> None:
    file.parent.mkdir()
    file.write_text(f"web write {'a' * 64}\n{line}\n")
    before = file.read_bytes()

    done = keys(*arguments)

    assert done.exit_code == 1
    assert done.output == (
        f"{file}, line 2 is no key: it must be NAME read|write SHA256 [DAY], or a comment after #;"
        " correct the line or remove it. Nothing was changed.\n"
    )
    assert file.read_bytes() == before


def test_a_release_without_a_script_for_keys_says_so(tmp_path: Path) -> None:
    done = coachman("list", file=tmp_path / "keys", folder=tmp_path)

    assert (done.returncode, done.stderr) == (
        1,
        "There is no scripts/keys here: this application keeps no keys of its own.\n",
    )


def test_every_answer_tells_browsers_to_run_nothing(client: TestClient) -> None:
    for path in ("/items", "/nowhere"):
        headers = client.get(path, headers={"Origin": "https://elsewhere.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in headers)


def test_the_documentation_can_be_switched_off(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"docs": False}))) as client:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code == 404
