"""Options of Gunicorn's command line are obeyed or refused, never dropped in silence."""

import os
from typing import Any

import pytest
from gunicorn.config import Config

from coachman.master.gunicorn_options import WITHOUT_EFFECT, refusal, without_effect
from coachman.settings import MOST_WORKERS, ServerSettings

SETTINGS = ServerSettings(hang_seconds=30, drain_seconds=20)


def refused(**options: Any) -> str:
    """What is said of a command line with these options, besides those of our configuration."""
    cfg = Config()
    cfg.set("graceful_timeout", SETTINGS.kill_seconds)
    for name, value in options.items():
        cfg.set(name, value)
    return refusal(cfg, SETTINGS)


def test_our_own_configuration_is_not_refused() -> None:
    assert refused() == ""
    assert refused(backlog=100, pidfile="x.pid", daemon=True, umask="0o117", loglevel="debug") == ""


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("max_requests", 5, ("--max-requests 5", "COACHMAN_MAX_REQUESTS")),
        ("timeout", 3, ("--timeout 3", "COACHMAN_HANG_SECONDS")),
        ("limit_request_line", 100, ("--limit-request-line 100", "COACHMAN_TARGET_BYTES")),
        ("limit_request_fields", 10, ("--limit-request-fields 10", "COACHMAN_HEAD_FIELDS")),
        ("threads", 4, ("--threads 4", "COACHMAN_WORKERS")),
        ("accesslog", "-", ("--access-logfile -", "COACHMAN_ACCESS_LOG=on")),
        ("forwarded_allow_ips", "*", ("--forwarded-allow-ips", "COACHMAN_TRUSTED_PROXIES")),
        ("keepalive", 20, ("--keep-alive 20", "below COACHMAN_DRAIN_SECONDS=20")),
        ("graceful_timeout", 20, ("--graceful-timeout 20", "above COACHMAN_DRAIN_SECONDS=20")),
        ("workers", MOST_WORKERS + 1, (f"at most {MOST_WORKERS}",)),
    ],
)
def test_an_option_is_refused_with_what_to_do_instead(
    option: str, value: object, words: tuple[str, ...]
) -> None:
    sentence = refused(**{option: value})

    assert all(word in sentence for word in words), sentence


def test_gunicorn_knows_the_options_that_are_refused() -> None:
    assert set(WITHOUT_EFFECT) <= set(Config().settings)


def test_settings_that_the_refusals_name_exist() -> None:
    named = {
        word.rstrip(",;.").partition("=")[0] for text in WITHOUT_EFFECT.values() for word in text.split()
    }
    keys = {f"COACHMAN_{name.upper()}" for name in ServerSettings.model_fields}

    assert {word for word in named if word.startswith("COACHMAN_")} <= keys


def test_an_address_has_no_effect_where_systemd_has_opened_the_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COACHMAN_BIND", "0.0.0.0:80")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))  # of the shell that systemd has started
    assert not without_effect()

    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    [sentence] = without_effect()
    assert sentence.startswith("COACHMAN_BIND=0.0.0.0:80 has no effect: systemd opens the sockets")
