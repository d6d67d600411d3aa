"""What holds on a VM holds in a pod: names, probes, log fields, limits, and what clients see of a stop."""

import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from coachman.settings import ServerSettings
from tests.parity.conftest import Start
from tests.support import web
from tests.support.load import Load
from tests.support.service import Service, running, wait_until


def lines(service: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in service.log().splitlines()]


def families(service: Service) -> set[tuple[str, str]]:
    """Each metric's name and kind."""
    text = web.get(f"{service.ops_url}/metrics").text
    return set(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def test_probes_answer(service: Service) -> None:
    assert web.get(f"{service.ops_url}/livez").json()["status"] == "alive"
    ready = web.get(f"{service.ops_url}/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["workers"]) == (200, "ready", 1)
    assert web.get(f"{service.ops_url}/").status_code == 200
    for path in ("/livez", "/readyz", "/metrics"):
        assert web.get(f"{service.url}{path}").status_code == 404, "operations leaked into the public port"


def test_metrics_probes_and_the_status_page_have_the_same_names(both: list[Service]) -> None:
    for one in both:
        assert web.get(f"{one.url}/items").status_code == 200
        assert wait_until(lambda one=one: 'route="/items"' in web.get(f"{one.ops_url}/metrics").text)

    master, alone = both
    assert families(master) == families(alone)
    assert master.report().keys() == alone.report().keys()
    assert master.slots()[0].keys() == alone.slots()[0].keys()
    seen = [web.get(f"{one.ops_url}/status.json").json() for one in both]
    assert seen[0].keys() == seen[1].keys()
    assert wait_until(lambda: web.get(f"{alone.ops_url}/status.json").json()["history"]), alone.log()


def test_log_lines_have_the_same_fields(both: list[Service]) -> None:
    access = []
    for one in both:
        web.get(f"{one.url}/items", headers={"X-Request-ID": "seen-in-the-log"})
        assert wait_until(lambda one=one: "seen-in-the-log" in one.log()), one.log()
        access.append(next(line for line in lines(one) if line.get("request_id") == "seen-in-the-log"))
    assert access[0].keys() == access[1].keys()
    assert {line["logger"] for line in access} == {"coachman.access"}
    ready = [next(line for line in lines(one) if "is ready" in str(line["message"])) for one in both]
    assert ready[0].keys() == ready[1].keys()


def test_request_ids_are_taken_and_given(service: Service) -> None:
    assert web.get(f"{service.url}/items", headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
    assert len(web.get(f"{service.url}/items").headers["x-request-id"]) == 16


def test_limits_hold(make: Start) -> None:
    with running(make(COACHMAN_BODY_BYTES="2048", COACHMAN_HEAD_SECONDS="3")) as service:
        assert web.post(f"{service.url}/items", content=b"x" * 3000).status_code == 413
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as slow:
            slow.sendall(b"GET /items HTTP/1.1\r\n")
            assert slow.recv(100).startswith(b"HTTP/1.1 408"), service.log()
        counted = 'coachman_limits_reached_total{limit="body-bytes"} 1.0'
        assert wait_until(lambda: counted in web.get(f"{service.ops_url}/metrics").text), service.log()


def test_a_service_that_others_reach_needs_keys(make: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    service = make(SHOP_KEYS_FILE=str(keys), SHOP_DOCS="off")
    service.environment["COACHMAN_BIND"] = f"0.0.0.0:{service.port}"
    with running(service, ready=False):
        assert service.wait_end(60) == 3, service.log()
        assert "coachman keys add" in service.log()

    keys.write_text(f"shop write {hashlib.sha256(b'secret').hexdigest()} 2026-01-01\n")
    with running(service):
        item = {"sku": "TEA-1", "name": "Darjeeling"}
        assert web.post(f"{service.url}/items", json=item).status_code == 401
        bearer = {"Authorization": "Bearer secret"}
        assert web.post(f"{service.url}/items", json=item, headers=bearer).status_code == 201


def test_a_database_that_was_not_migrated_ends_the_start_with_the_command_to_run(
    make: Start, tmp_path: Path
) -> None:
    with running(make(SHOP_DATABASE_URL=f"sqlite:///{tmp_path}/none.db"), ready=False) as service:
        Path(f"{tmp_path}/none.db").unlink()
        assert service.wait_end(60) == 3, service.log()
        assert "python -m app migrate" in service.log()
        assert "Traceback" not in service.log()


@pytest.mark.parametrize("key", ["BIND", "LOG_FORMAT", "DRAIN_SECONDS", "CONNECTIONS", "RUNTIME_DIR"])
def test_settings_are_refused_in_the_same_words(key: str, make: Start, tmp_path: Path) -> None:
    assert key.lower() in ServerSettings.model_fields
    service = make()
    if key == "RUNTIME_DIR":  # another service is there
        service.environment["COACHMAN_RUNTIME_DIR"] = str(tmp_path / "run")
        with running(make()), running(service, ready=False):
            assert service.wait_end(60) != 0
    else:
        service.environment[f"COACHMAN_{key}"] = "nonsense"
        with running(service, ready=False):
            assert service.wait_end(60) != 0
    assert re.search(rf"COACHMAN_{key}=.*(is refused: it must be|Stop it, or)", service.log()), service.log()
    assert "Traceback" not in service.log()


def test_a_taken_address_is_told_in_one_sentence(make: Start) -> None:
    service = make(COACHMAN_LOG_FORMAT="text")
    with socket.create_server(("127.0.0.1", service.port)), running(service, ready=False):
        assert service.wait_end(60) != 0
        assert (
            f"Cannot listen on 127.0.0.1:{service.port}: address already in use. Set COACHMAN_BIND"
            in service.log()
        )
        assert "Traceback" not in service.log()


def test_a_stop_answers_what_comes_on_open_connections(make: Start) -> None:
    with running(make()) as service, Load(service.port, "/items", clients=8, pause=0.01) as load:
        assert wait_until(lambda: load.served() > 100), load.outcomes
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end(60) == 0, service.log()
    assert set(load.outcomes) <= {"success", "refused"}, (load.outcomes, service.log())


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "one-shot"])
def test_one_of_two_leaves_under_load_once_new_connections_go_to_the_other(
    both: list[Service], keep_alive: bool
) -> None:
    """The order of a pod's end: out of the endpoints, the preStop's pause, SIGTERM."""
    for leaving, staying in (both, both[::-1]):
        endpoints = [leaving.port, staying.port]

        def connect(_: object, *more: Any, ports: list[int] = endpoints, **named: Any) -> socket.socket:
            return socket.create_connection(("127.0.0.1", random.choice(ports)), *more, **named)

        with Load(0, "/items", clients=8, keep_alive=keep_alive, connect=connect, pause=0.02) as load:
            assert wait_until(lambda load=load: load.served() > 100), load.outcomes
            endpoints.remove(leaving.port)
            time.sleep(0.5)  # the preStop, which is a pause
            leaving.process.send_signal(signal.SIGTERM)
            assert leaving.wait_end(60) == 0, leaving.log()
            served = load.served()
            assert wait_until(lambda load=load, served=served: load.served() > served + 50), load.outcomes
        assert set(load.outcomes) == {"success"}, (load.outcomes, leaving.log())
        leaving.start()
        leaving.wait_ready()


def test_a_stop_waits_for_what_is_in_flight(make: Start) -> None:
    service = make(app="streams")
    with running(service), service.asked("/download/8") as download:
        file = download.getresponse()
        service.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: _is_refused(service.port)), "it still takes connections"
        assert service.process.poll() is None, "it has refused connections only once it had ended"
        assert len(file.read()) == 8 * 10 * 1000, service.log()
        assert service.wait_end(60) == 0, service.log()


def _is_refused(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_what_does_not_end_is_cut_at_the_drain_limit(make: Start) -> None:
    service = make(
        app="streams",
        COACHMAN_DRAIN_SECONDS="2",
        COACHMAN_KEEPALIVE_SECONDS="1",
    )
    with running(service), service.asked("/download/60") as download:
        file = download.getresponse()
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end(50) == 0, service.log()  # sooner than the download ends
        assert time.monotonic() - begun > 1.9
        with pytest.raises(http.client.IncompleteRead):
            file.read()


def test_a_reload_signal_leaves_the_process_serving(both: list[Service]) -> None:
    """There is nothing to hand over to; the engine replaces the container."""
    _, alone = both
    for signum in (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN):
        alone.process.send_signal(signum)
    assert web.get(f"{alone.url}/items").status_code == 200
    assert alone.process.poll() is None
    assert alone.report()["workers"] == 1


def test_what_a_master_does_is_refused_where_there_is_none(both: list[Service]) -> None:
    _, alone = both
    who = f"Process {alone.process.pid}"
    for command in (["scale", "2"], ["handover"], ["kill-worker"]):
        done = coachman(alone, *command)
        assert done.returncode == 1
        assert f"{who} serves without a master: " in done.stderr, done
    assert coachman(alone, "status").stdout.startswith(f"{who}: 1/1 workers ready")


def coachman(service: Service, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "coachman", *arguments],
        env=os.environ | {"COACHMAN_RUNTIME_DIR": service.environment["COACHMAN_RUNTIME_DIR"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
