"""Opening and probing an address: each end in one sentence, and nobody else's socket is touched."""

import socket
import stat
from pathlib import Path

import pytest

from coachman.system import sockets


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8000", ("::1", 8000)),
        ("LocalHost:0", ("localhost", 0)),
        ("unix:/run/coachman/public.sock", "/run/coachman/public.sock"),
    ],
)
def test_addresses_are_read_as_gunicorn_reads_them(text: str, address: sockets.Address) -> None:
    from gunicorn.util import parse_address

    assert sockets.parse_address(text) == address == parse_address(text)


@pytest.mark.parametrize(
    "text", ["8000", ":80", "::1:80", "host:65536", "host:٣", "unix:relative", "unix:80x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        sockets.parse_address(text)


def test_an_address_is_written_as_people_write_it() -> None:
    assert sockets.format_address(("::1", 80)) == "[::1]:80"
    assert sockets.format_address(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert sockets.format_address("/run/x.sock") == "/run/x.sock"


def test_a_taken_port_ends_in_one_sentence_however_it_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
        for attempt in (
            lambda: sockets.open_socket("COACHMAN_BIND", f"{host}:{port}").listen(),
            lambda: sockets.require_free("COACHMAN_BIND", (host, port)),
        ):
            with pytest.raises((SystemExit, OSError)) as ended:
                attempt()
            assert "ddress already in use" in str(ended.value)
    sockets.require_free("COACHMAN_BIND", (host, port))


def test_an_unknown_host_ends_in_one_sentence() -> None:
    with pytest.raises(
        SystemExit, match=r"^Cannot listen on nowhere\.invalid:80: .*\. Set KEY to an address"
    ):
        sockets.open_socket("KEY", "nowhere.invalid:80")


def test_a_socket_file_in_use_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(SystemExit, match="address already in use"):
            sockets.open_socket("COACHMAN_BIND", f"unix:{path}")
        with pytest.raises(SystemExit, match="address already in use"):
            sockets.require_free("COACHMAN_BIND", str(path))
        sockets.connect(str(path), 1).close()


def test_a_socket_file_that_a_killed_process_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    sockets.require_free("COACHMAN_BIND", str(path))
    with sockets.open_socket("COACHMAN_BIND", f"unix:{path}") as listener:
        listener.listen()
        sockets.connect(str(path), 1).close()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("mine")

    sentence = f"Cannot listen on {path}: what is there is no socket, and is left as it is. Set COACHMAN_BIND"
    with pytest.raises(SystemExit, match=sentence):
        sockets.open_socket("COACHMAN_BIND", f"unix:{path}")
    with pytest.raises(SystemExit, match=sentence):
        sockets.require_free("COACHMAN_BIND", str(path))
    with pytest.raises(SystemExit, match=f"Cannot listen on {tmp_path}: what is there is no socket"):
        sockets.require_free("COACHMAN_BIND", str(tmp_path))
    assert path.read_text() == "mine"


def test_a_socket_file_in_a_missing_folder_ends_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "x.sock"
    with pytest.raises(SystemExit, match=r"no such file or directory\. Set COACHMAN_BIND"):
        sockets.open_socket("COACHMAN_BIND", f"unix:{path}")
    with pytest.raises(SystemExit, match="its directory is missing or not writable"):
        sockets.require_free("COACHMAN_BIND", str(path))


def test_a_unix_socket_is_for_its_user_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    with sockets.open_socket("COACHMAN_BIND", f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
