"""The application's settings: bounds, and refusals in one sentence."""

import re
from pathlib import Path

import pytest

from app.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("THREADS", "0", "SHOP_THREADS=0 is refused: it must be a whole number from 1 to 1000."),
        ("THREADS", "1001", "SHOP_THREADS=1001 is refused: it must be"),
        ("THREADS", "many", "SHOP_THREADS=many is refused: it must be"),
        ("MAX_BODY_BYTES", "1", "SHOP_MAX_BODY_BYTES=1 is refused: it must be"),
        ("DATABASE_URL", "x.db", "SHOP_DATABASE_URL=x.db is refused: it must be sqlite:///PATH"),
        ("DATABASE_URL", "sqlite://", "SHOP_DATABASE_URL=sqlite:// is refused"),
        ("DATABASE_URL", "sqlite:///", "SHOP_DATABASE_URL=sqlite:/// is refused"),
        ("DATABASE_URL", "sqlite:///var/", "SHOP_DATABASE_URL=sqlite:///var/ is refused"),
        ("DATABASE_URL", "sqlite:///:memory:", "SHOP_DATABASE_URL=sqlite:///:memory: is refused"),
        ("DATABASE_URL", "sqlite:///x.db?timeout=20", "SHOP_DATABASE_URL=sqlite:///x.db?timeout=20 is"),
        (
            "DATABASE_URL",
            "postgresql://me@db/x?password=secret",
            "SHOP_DATABASE_URL=postgresql://me@db/x?password=*** is refused",
        ),
        (
            "DATABASE_URL",
            "postgresql://me:se:cr@et@db/",
            "SHOP_DATABASE_URL=postgresql://me:***@db/ is refused",
        ),
    ],
)
def test_bad_value_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"SHOP_{key}", value)

    with pytest.raises(SystemExit) as ended:
        load_settings()

    assert str(ended.value).startswith(sentence)
    assert "\n" not in str(ended.value)


def test_values_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_THREADS", "7")
    monkeypatch.setenv("SHOP_DOCS", "off")
    monkeypatch.setenv("SHOP_MAX_BODY_BYTES", "")
    monkeypatch.setenv("COACHMAN_WORKERS", "not ours")

    settings = load_settings()

    assert (settings.threads, settings.docs, settings.max_body_bytes) == (7, False, 1024 * 1024)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().threads = 3  # type: ignore[misc]


def test_an_old_name_is_read_with_one_line_of_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COACHMAN_THREADS", "7")
    monkeypatch.setenv("COACHMAN_KEYS_FOR", "all")

    settings = load_settings()

    assert (settings.threads, settings.keys_for) == (7, "all")
    assert [record.getMessage() for record in caplog.records] == [
        "COACHMAN_THREADS, COACHMAN_KEYS_FOR: from the next version on the application reads"
        " SHOP_THREADS, SHOP_KEYS_FOR instead; rename them in its environment"
    ]


def test_a_name_of_its_own_wins_over_the_old_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COACHMAN_THREADS", "7")
    monkeypatch.setenv("SHOP_THREADS", "8")

    assert load_settings().threads == 8
    assert not caplog.records


def test_a_bad_value_of_an_old_name_is_refused_under_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_THREADS", "0")

    with pytest.raises(SystemExit, match=r"^COACHMAN_THREADS=0 is refused: it must be a whole number"):
        load_settings()


def test_the_old_names_that_the_unit_sets_are_what_later_releases_take_by_themselves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unit = (Path(__file__).parents[3] / "systemd" / "coachman.service").read_text()
    old = re.findall(r"^Environment=(COACHMAN_\w+)=(.*)$", unit, re.MULTILINE)
    assert {name for name, _ in old} == {"COACHMAN_DATABASE_URL", "COACHMAN_KEYS_FILE"}
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/coachman")
    without = load_settings()

    for name, value in old:
        monkeypatch.setenv(name, value)

    assert load_settings() == without
    assert not caplog.records


def test_the_keys_of_each_application_on_a_machine_are_in_its_own_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/coachman-shop")
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", "/etc/coachman-shop")

    assert load_settings().keys_file == Path("/etc/coachman-shop/keys")
