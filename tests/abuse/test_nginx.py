"""Behind nginx, as we ship its configuration."""

import os
import re
import shutil
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.abuse.client import Attacker
from tests.support import web
from tests.support.load import Load
from tests.support.nginx import SHIPPED, Nginx
from tests.support.service import Service, is_alive, running, wait_until
from tests.support.volume import volume

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None and "CI" not in os.environ, reason="nginx is not installed"
)
MEGABYTE = 1024 * 1024


def behind_nginx(folder: Path, **settings: str) -> Service:
    """Listens on a unix socket."""
    service = Service(folder, app="target", COACHMAN_TRUSTED_PROXIES="*", **settings)
    service.environment["COACHMAN_BIND"] = f"unix:{folder}/public.sock"
    return service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    service = behind_nginx(folder, COACHMAN_WORKERS="4")
    with running(service):
        yield service


@pytest.fixture(scope="module")
def nginx(service: Service, folder: Path) -> Iterator[Nginx]:
    extra = "    location /denied { return 403; }\n"
    with Nginx(folder, f"{folder}/public.sock", extra=extra).running() as nginx:
        yield nginx


def test_nginx_accepts_the_configuration(nginx: Nginx) -> None:
    said = nginx.check()

    assert "test is successful" in said
    assert "[warn]" not in said


def test_every_server_of_the_upstream_stays_in_it() -> None:
    text = (SHIPPED / "coachman.conf").read_text()
    servers = re.findall(r"^\s+server unix:.*$", text, re.MULTILINE)

    assert len(servers) >= 3
    assert all(line.endswith("max_fails=0;") for line in servers)
    assert not re.search(r"^\s*(proxy_set_header Upgrade|keepalive \d)", text, re.MULTILINE)


def test_sizes_and_times_are_those_of_the_worker() -> None:
    text = (SHIPPED / "coachman.conf").read_text()

    for directive, setting in (
        ("client_header_timeout 10s", "HEAD_SECONDS"),
        ("client_body_timeout 10s", "BODY_SECONDS"),
        ("send_timeout 20s", "ANSWER_SECONDS"),
        ("large_client_header_buffers 4 8k", "TARGET_BYTES"),
        ("client_max_body_size 100m", "BODY_BYTES"),
    ):
        assert re.search(rf"{directive}; # .*COACHMAN_{setting}", text), directive


def test_tls_speaks_http_2_and_plain_http_is_sent_there(nginx: Nginx) -> None:
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"
    plain_url = f"http://127.0.0.1:{nginx.redirect_port}/items?x=1"
    redirect = web.get(plain_url, headers={"Host": "shop.example"})
    assert redirect.status_code == 308
    assert redirect.headers["location"] == "https://shop.example/items?x=1"
    secure = httpx2.get(f"https://127.0.0.1:{nginx.tls_port}/pid", verify=context, timeout=60)
    assert secure.status_code == 200
    assert "max-age" in secure.headers["strict-transport-security"]


def test_the_application_learns_who_asks_and_under_which_id(nginx: Nginx) -> None:
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "mine"}
    answer = web.get(f"http://127.0.0.1:{nginx.port}/seen", headers=lies)

    assert answer.json()["client"] == "127.0.0.1"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.json()["request_id"])
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


@pytest.mark.soak
def test_killed_workers_are_seen_by_nobody_who_reads(service: Service, nginx: Nginx) -> None:
    with Load(nginx.port, "/pid", clients=8, pause=0.01) as load:
        for _ in range(volume(30, 8)):
            service.wait_settled()
            victim = min(service.worker_pids())
            os.kill(victim, signal.SIGKILL)
            # Until the master has seen it, the service looks settled.
            assert wait_until(lambda pid=victim: pid not in service.worker_pids()), service.log()
        service.wait_settled()

    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{nginx.log()}"
    assert load.served() > 100


def test_a_handover_is_seen_by_nobody_who_reads_or_writes(service: Service, nginx: Nginx) -> None:
    before, master = service.report()["generation"], service.report()["master"]
    with Load(nginx.port, "/pid", clients=4, pause=0.02) as load, web.Client() as writer:
        os.kill(master, signal.SIGUSR2)
        statuses: Counter[int] = Counter()
        deadline = time.monotonic() + 120
        while is_alive(master) and time.monotonic() < deadline:  # with its workers, which serve for a while
            statuses[writer.post(f"http://127.0.0.1:{nginx.port}/length", content=b"12345").status_code] += 1
            time.sleep(0.01)  # it takes seconds, most of which nothing happens
        for _ in range(100):
            statuses[writer.post(f"http://127.0.0.1:{nginx.port}/length", content=b"12345").status_code] += 1

    assert service.report()["generation"] == before + 1, service.log()
    assert set(statuses) == {200}, f"{statuses}\n{nginx.log()}"
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{nginx.log()}"


def test_requests_spread_over_the_workers(nginx: Nginx, service: Service) -> None:
    answered: Counter[str] = Counter()

    def count(body: bytes) -> bool:
        answered[body.decode()] += 1
        return True

    with Load(nginx.port, "/pid", clients=16, body=count):
        assert wait_until(lambda: answered.total() > 2000, seconds=60)

    assert max(answered.values()) / answered.total() <= 0.45, answered
    assert len(answered) == 4


def test_an_upgrade_carries_nothing_past_nginx(nginx: Nginx, service: Service) -> None:
    hidden = b"GET /denied/secret HTTP/1.1\r\nhost: here\r\n\r\n"
    for protocol in (b"h2c", b"foo", b"websocket"):
        with Attacker(nginx.port) as attacker:
            attacker.send(
                b"POST /length HTTP/1.1\r\nhost: here\r\nconnection: upgrade, close\r\nupgrade: %s\r\n"
                b"content-length: %d\r\n\r\n%s" % (protocol, len(hidden), hidden)
            )
            answer = attacker.read_to_end()
        assert answer.endswith(b"%d" % len(hidden)), answer
    asked = [web.get(f"http://127.0.0.1:{nginx.port}/asked").json() for _ in range(20)]

    assert not any("denied" in line for lines in asked for line in lines)


def test_a_body_that_is_too_large_is_refused_by_nginx(nginx: Nginx) -> None:
    for size, status in ((MEGABYTE, 200), (MEGABYTE + 1, 413)):
        answer = web.post(f"http://127.0.0.1:{nginx.port}/length", content=b"." * size)
        assert answer.status_code == status


def test_a_service_that_is_down_has_a_page_that_says_so(tmp_path: Path) -> None:
    with Nginx(tmp_path, f"{tmp_path}/nobody.sock").running() as nginx:
        answer = web.get(f"http://127.0.0.1:{nginx.port}/items")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "Back in a moment" in answer.text
