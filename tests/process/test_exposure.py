"""Who may reach the service, and what it believes of those who do."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.conformance.websockets import HANDSHAKE
from tests.support import web
from tests.support.deadlines import COMMAND_SECONDS, PATIENCE_SECONDS
from tests.support.service import REPOSITORY, Service, running


def exposed(folder: Path, **settings: str) -> Service:
    service = Service(folder, COACHMAN_WORKERS="1", SHOP_KEYS_FILE=f"{folder}/keys", **settings)
    service.environment["COACHMAN_BIND"] = f"0.0.0.0:{service.port}"
    service.migrate()
    return service


def test_an_address_beyond_loopback_is_refused_without_a_key(tmp_path: Path) -> None:
    service = exposed(tmp_path)
    with running(service, ready=False):
        assert service.wait_end() == 3, service.log()

    sentence = f"0.0.0.0:{service.port} can be reached from other machines and {tmp_path}/keys has no key"
    assert sentence in service.log()
    assert "Traceback" not in service.log()


def test_an_address_beyond_loopback_serves_with_a_key_or_by_decision(tmp_path: Path) -> None:
    service = exposed(tmp_path)
    made = subprocess.run(
        [sys.executable, "-m", "coachman", "keys", "add", "shop"],
        env=service.environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    key = made.stdout.strip()
    with running(service):
        item = {"sku": "TEA", "name": "Tea"}
        assert web.post(f"{service.url}/items", json=item).status_code == 401
        allowed = web.post(f"{service.url}/items", json=item, headers={"Authorization": f"Bearer {key}"})
        assert allowed.status_code == 201
    assert key not in service.log()

    (tmp_path / "keys").unlink()
    service.environment["SHOP_KEYS_FOR"] = "nothing"
    with running(service):
        assert web.get(f"{service.url}/items").status_code == 200


def test_forwarded_headers_are_believed_of_trusted_proxies_only(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    for trusted, seen in (("", ["127.0.0.1", "http"]), ("127.0.0.1", ["203.0.113.9", "https"])):
        service = Service(tmp_path, app="seen", COACHMAN_WORKERS="1", COACHMAN_TRUSTED_PROXIES=trusted)
        with running(service):
            answer = web.get(f"{service.url}/client", headers=forwarded)
            assert answer.json() == seen, service.log()
            assert "server" not in answer.headers


def test_a_proxy_of_ipv4_is_trusted_on_a_socket_of_both_kinds(tmp_path: Path) -> None:
    """Which sees it as ::ffff:127.0.0.1."""
    service = Service(tmp_path, app="seen", COACHMAN_WORKERS="1", COACHMAN_TRUSTED_PROXIES="127.0.0.1")
    service.environment["COACHMAN_BIND"] = f"[::]:{service.port}"
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with running(service):
        assert web.get(f"{service.url}/client", headers=forwarded).json() == ["203.0.113.9", "https"]
        assert web.get(f"{service.url}/client").json() == ["127.0.0.1", "http"]
        assert client_of_websocket(service.port, b"X-Forwarded-For: 203.0.113.9\r\n") == b"203.0.113.9"
        assert client_of_websocket(service.port) == b"127.0.0.1"


def client_of_websocket(port: int, fields: bytes = b"") -> bytes:
    """As the application has it, which sends it in the first frame."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(HANDSHAKE + fields + b"\r\n")
        received = b""
        while piece := connection.recv(4096):
            received += piece
            if received.endswith(b"\x88\x02\x03\xe8"):  # it closes, with 1000
                break
    frame = received.partition(b"\r\n\r\n")[2]
    return frame[2 : 2 + frame[1]]
