"""What a user gets wrong ends in one sentence and a code that is not zero."""

import socket
from pathlib import Path

import pytest

from tests.support.service import APPS, Service, running


def refused(service: Service) -> tuple[int, str]:
    """The exit code, and what was logged."""
    with running(service, ready=False):
        code = service.wait_end()
    assert "Traceback" not in service.log(), service.log()
    return code, service.log()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe")
    with socket.create_server(("127.0.0.1", service.port)):
        code, log = refused(service)

    assert code == 1
    assert f"Cannot listen on 127.0.0.1:{service.port}: address already in use. Set COACHMAN_BIND" in log


def test_a_taken_ops_port_is_named(tmp_path: Path) -> None:
    service = Service(tmp_path, app="probe")
    with socket.create_server(("127.0.0.1", service.ops_port)):
        code, log = refused(service)

    assert code == 1
    assert f"127.0.0.1:{service.ops_port}: address already in use. Set COACHMAN_OPS_BIND" in log


def test_a_unix_socket_in_use_is_not_stolen(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        code, log = refused(Service(tmp_path, app="probe", COACHMAN_BIND=f"unix:{path}"))

        assert path.is_socket(), "the other service's socket was removed"
    assert code == 1
    assert f"Cannot listen on {path}: address already in use." in log


def test_a_unix_socket_in_a_missing_directory_is_named(tmp_path: Path) -> None:
    code, log = refused(Service(tmp_path, app="probe", COACHMAN_BIND=f"unix:{tmp_path}/none/public.sock"))

    assert code == 1
    assert "its directory is missing or not writable" in log


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"COACHMAN_WORKERS": "many"},
            "COACHMAN_WORKERS=many is refused: it must be a whole number from 1 to 256.",
        ),
        ({"COACHMAN_LOOP": "nope:factory"}, "the package nope is not installed; run: pip install nope"),
        ({"COACHMAN_APP": "nope:app"}, "COACHMAN_APP=nope:app: there is no module nope here"),
        (
            {"COACHMAN_APP": "probe:other"},
            "COACHMAN_APP=probe:other: probe has no application named other; it has app:",
        ),
        ({"SHOP_DATABASE_URL": "mysql://x"}, "SHOP_DATABASE_URL=mysql://x is refused"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    code, log = refused(Service(tmp_path, PYTHONPATH=APPS, **settings))

    assert code == 1
    assert sentence in log


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ("--max-requests 5", "COACHMAN_MAX_REQUESTS"),
        ("--timeout 3", "COACHMAN_HANG_SECONDS"),
        ("--limit-request-line 100", "COACHMAN_TARGET_BYTES"),
        ("--limit-request-fields 10", "COACHMAN_HEAD_FIELDS"),
        ("--keep-alive 3600", "COACHMAN_DRAIN_SECONDS"),
    ],
)
def test_an_option_of_gunicorns_that_would_do_nothing_is_refused(
    tmp_path: Path, options: str, instead: str
) -> None:
    code, log = refused(Service(tmp_path, app="probe", GUNICORN_CMD_ARGS=options))

    assert code == 1
    assert f"{options} " in log, log
    assert instead in log, log


def test_an_unmigrated_database_stops_the_service_and_says_what_to_run(tmp_path: Path) -> None:
    code, log = refused(Service(tmp_path))

    assert code == 3
    assert "run: python -m app migrate" in log


def test_a_start_up_that_raises_stops_the_service_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "down").touch()
    code, log = refused(Service(tmp_path, app="broken"))

    assert code == 3
    assert "The application failed: the database is down" in log
    assert "broken.py:" in log


def test_a_module_that_raises_shows_its_author_the_line(tmp_path: Path) -> None:
    service = Service(tmp_path, app="broken", BREAK_IMPORT="1")
    with running(service, ready=False):
        code = service.wait_end()

    assert code == 1
    assert "importing broken failed: KeyError: 'BREAK_IMPORT is set'" in service.log()
    assert "broken.py" in service.log()
    assert "coachman" not in service.log().split("Traceback")[1].split("KeyError")[0]
