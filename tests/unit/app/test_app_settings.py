"""The application's settings: bounds, and refusals in one sentence."""

import pytest

from app.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("THREADS", "0", "COACHMAN_THREADS=0 is refused: it must be a whole number from 1 to 1000."),
        ("THREADS", "1001", "COACHMAN_THREADS=1001 is refused: it must be"),
        ("THREADS", "many", "COACHMAN_THREADS=many is refused: it must be"),
        ("LOG_LEVEL", "loud", "COACHMAN_LOG_LEVEL=loud is refused: it must be debug, info, warning"),
        ("MAX_BODY_BYTES", "1", "COACHMAN_MAX_BODY_BYTES=1 is refused: it must be"),
        ("DATABASE_URL", "x.db", "COACHMAN_DATABASE_URL=x.db is refused: it must be sqlite:///PATH"),
        ("DATABASE_URL", "sqlite://", "COACHMAN_DATABASE_URL=sqlite:// is refused"),
        ("DATABASE_URL", "sqlite:///", "COACHMAN_DATABASE_URL=sqlite:/// is refused"),
        ("DATABASE_URL", "sqlite:///var/", "COACHMAN_DATABASE_URL=sqlite:///var/ is refused"),
        ("DATABASE_URL", "sqlite:///:memory:", "COACHMAN_DATABASE_URL=sqlite:///:memory: is refused"),
        ("DATABASE_URL", "sqlite:///x.db?timeout=20", "COACHMAN_DATABASE_URL=sqlite:///x.db?timeout=20 is"),
        (
            "DATABASE_URL",
            "postgresql://me@db/x?password=secret",
            "COACHMAN_DATABASE_URL=postgresql://me@db/x?password=*** is refused",
        ),
        (
            "DATABASE_URL",
            "postgresql://me:se:cr@et@db/",
            "COACHMAN_DATABASE_URL=postgresql://me:***@db/ is refused",
        ),
    ],
)
def test_bad_value_ends_the_process_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"COACHMAN_{key}", value)

    with pytest.raises(SystemExit) as ended:
        load_settings()

    assert str(ended.value).startswith(sentence)
    assert "\n" not in str(ended.value)


def test_values_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_THREADS", "7")
    monkeypatch.setenv("COACHMAN_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("COACHMAN_MAX_BODY_BYTES", "")
    monkeypatch.setenv("COACHMAN_WORKERS", "not ours")

    settings = load_settings()

    assert (settings.threads, settings.log_level, settings.max_body_bytes) == (7, "warning", 1024 * 1024)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().threads = 3  # type: ignore[misc]
