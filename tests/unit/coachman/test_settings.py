import pytest

from coachman.settings import ServerSettings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"COACHMAN_{name.upper()}", raising=False)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


def test_defaults_listen_on_loopback_only() -> None:
    settings = load_settings()

    assert (settings.bind, settings.ops_bind) == ("127.0.0.1:8000", "127.0.0.1:9100")
    assert settings.workers is None


def test_web_concurrency_counts_where_coachman_workers_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert load_settings().workers == 3

    monkeypatch.setenv("COACHMAN_WORKERS", "5")
    assert load_settings().workers == 5


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("COACHMAN_WORKERS", "0", "COACHMAN_WORKERS=0 is refused: it must be a whole number from 1 to 256."),
        ("COACHMAN_WORKERS", "257", "COACHMAN_WORKERS=257 is refused"),
        ("WEB_CONCURRENCY", "two", "WEB_CONCURRENCY=two is refused: it must be a whole number"),
        ("COACHMAN_BIND", "8000", "COACHMAN_BIND=8000 is refused: it must be HOST:PORT"),
        ("COACHMAN_BIND", "::1:8000", "COACHMAN_BIND=::1:8000 is refused"),
        ("COACHMAN_BIND", "localhost:65536", "COACHMAN_BIND=localhost:65536 is refused"),
        ("COACHMAN_OPS_BIND", "unix:relative", "COACHMAN_OPS_BIND=unix:relative is refused"),
        ("COACHMAN_OPS_BIND", "127.0.0.1:8000", "COACHMAN_OPS_BIND=127.0.0.1:8000 is COACHMAN_BIND too"),
        ("COACHMAN_LOOP", "fast", "COACHMAN_LOOP=fast is refused: it must be auto, uvloop,"),
        ("COACHMAN_LOG_LEVEL", "loud", "COACHMAN_LOG_LEVEL=loud is refused: it must be debug,"),
        ("COACHMAN_APP", "app/main.py", "COACHMAN_APP=app/main.py is refused: it must be MODULE:ATTRIBUTE"),
    ],
)
def test_a_bad_value_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(key, value)

    with pytest.raises(SystemExit) as end:
        load_settings()

    assert str(end.value).startswith(sentence)
    assert "\n" not in str(end.value)


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHMAN_WORKERS", "")

    assert load_settings().workers is None
