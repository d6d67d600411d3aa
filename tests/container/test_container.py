"""The shipped image and the shipped Deployment, run for real by Podman with a PostgreSQL behind."""

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2

from tests.container.conftest import MakeReplica
from tests.container.engine import Engine
from tests.container.proxy import Proxy
from tests.container.shop import KEY, Replica
from tests.support import web
from tests.support.load import Load
from tests.support.postgresql import Server
from tests.support.service import wait_until

ONE_MORE = {"delta": 1, "reason": "receipt"}
BEARER = {"Authorization": f"Bearer {KEY}"}


def new_item(replica: Replica, sku: str) -> int:
    answer = web.post(f"{replica.url}/items", json={"sku": sku, "name": sku}, headers=BEARER)
    assert answer.status_code == 201, f"{answer.text}\n{replica.log()}"
    return int(answer.json()["id"])


class Bookings(threading.Thread):
    """Books one piece at a time, each on a connection of its own, and never again what has failed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._is_over = url, threading.Event()
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                answer = web.post(self._url, json=ONE_MORE, headers=BEARER, timeout=60)
                self.outcomes[f"status {answer.status_code}"] += 1
            except httpx2.TransportError as error:
                self.outcomes[type(error).__name__] += 1

    def __enter__(self) -> "Bookings":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join(120)


def test_the_image_holds_what_serves_and_nothing_that_builds(engine: Engine, image: str) -> None:
    script = """
        id -u; touch /opt/coachman/x 2>/dev/null && echo writable
        for tool in gcc cc make pip pip3 curl; do command -v $tool; done
        ls /opt/coachman; find / -xdev -name keys -path "*var*" 2>/dev/null; ls /tmp
        test -n "$(find /opt/coachman/app -name '*.pyc')" && echo compiled
    """
    inside = ["--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", script]
    assert engine.podman("run", *inside).split() == ["10001", "app", "compiled"]
    user, entry = "{{.Config.User}}", "{{json .Config.Entrypoint}}"
    assert engine.podman("inspect", "--format", user, image) == "10001:10001"
    assert engine.podman("inspect", "--format", entry, image) == '["python","-m","coachman","serve"]'


def test_the_deployment_serves_confined(make_replica: MakeReplica, engine: Engine) -> None:
    replica = make_replica("confined")

    assert web.get(f"{replica.ops_url}/livez").status_code == 200
    assert "coachman_info" in web.get(f"{replica.ops_url}/metrics").text
    item = new_item(replica, "CONFINED")
    assert web.get(f"{replica.url}/items/{item}").json()["sku"] == "CONFINED"
    assert web.post(f"{replica.url}/items", json={"sku": "X", "name": "X"}).status_code == 401

    script = (
        "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/1/status; touch /x 2>&1; python -m coachman status"
    )
    seen = engine.podman("exec", replica.container, "sh", "-c", script)
    for expected in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Read-only file system"):
        assert expected in seen, seen
    assert "1/1 workers ready" in seen, seen
    assert replica.inspect()["HostConfig"]["Memory"] == 384 * 1024 * 1024


def test_sigterm_under_load_answers_whatever_was_asked(make_replica: MakeReplica) -> None:
    replica = make_replica("leaving")
    with Load(replica.port, "/items", clients=8) as load:
        assert wait_until(lambda: load.served() > 100), load.outcomes
        assert replica.terminate() == 0, replica.log()  # killed at the end of the grace, it would be 137
    assert set(load.outcomes) <= {"success", "refused"}, (load.outcomes, replica.log())
    assert "drains" in replica.log()


def test_a_killed_container_is_started_again_and_has_what_was_acknowledged(make_replica: MakeReplica) -> None:
    replica = make_replica("killed")
    item = new_item(replica, "KILLED")
    before = replica.inspect()["State"]["Pid"]
    with Bookings(f"{replica.url}/items/{item}/movements") as bookings:
        assert wait_until(lambda: bookings.outcomes["status 201"] > 20), bookings.outcomes
        os.kill(before, signal.SIGKILL)
        booked = bookings.outcomes["status 201"]
        replica.wait_ready()
        assert wait_until(lambda: bookings.outcomes["status 201"] > booked + 20), replica.log()
    assert replica.inspect()["State"]["Pid"] != before
    quantity = web.get(f"{replica.url}/items/{item}").json()["quantity"]
    # One, whose answer the kill took away, may be there besides.
    assert quantity - bookings.outcomes["status 201"] in (0, 1), bookings.outcomes


def test_one_of_two_replicas_is_taken_away_under_load(make_replica: MakeReplica, tmp_path: Path) -> None:
    leaving, staying = make_replica("first"), make_replica("second")
    item = new_item(staying, "TAKEN-AWAY")
    proxy = Proxy(tmp_path / "nginx", leaving, staying)
    with (
        proxy.running(),
        Load(proxy.port, "/items", clients=6, keep_alive=False) as load,
        Bookings(f"http://127.0.0.1:{proxy.port}/items/{item}/movements") as bookings,
    ):
        assert wait_until(lambda: load.served() > 100), (load.outcomes, proxy.log())
        proxy.take_away(staying=staying)
        # The preStop's pause, in which what was routed here before is answered.
        assert wait_until(lambda: leaving_is_left(leaving)), leaving.log()
        assert leaving.terminate() == 0, leaving.log()
        served = load.served()
        assert wait_until(lambda: load.served() > served + 100), (load.outcomes, proxy.log())
    assert set(load.outcomes) == {"success"}, (load.outcomes, proxy.log())
    assert set(bookings.outcomes) == {"status 201"}, (bookings.outcomes, proxy.log())
    quantity = web.get(f"{staying.url}/items/{item}").json()["quantity"]
    assert quantity == bookings.outcomes["status 201"]


def leaving_is_left(replica: Replica) -> bool:
    """Whether no connection is open there, twice in a row."""
    open_now = []
    for _ in range(2):
        [slot] = web.get(f"{replica.ops_url}/readyz").json()["slots"]
        open_now.append(slot["connections"])
        time.sleep(0.2)  # between two looks: one may fall between two connections
    return open_now == [0, 0]


def test_a_killed_replica_costs_readers_behind_nginx_nothing(
    make_replica: MakeReplica, tmp_path: Path
) -> None:
    killed, other = make_replica("third"), make_replica("fourth")
    proxy = Proxy(tmp_path / "nginx", killed, other)
    with proxy.running(), Load(proxy.port, "/items", clients=6) as load:
        assert wait_until(lambda: load.served() > 100), (load.outcomes, proxy.log())
        os.kill(killed.inspect()["State"]["Pid"], signal.SIGKILL)
        served = load.served()
        assert wait_until(lambda: load.served() > served + 100), (load.outcomes, proxy.log())
        killed.wait_ready()
    assert set(load.outcomes) == {"success"}, (load.outcomes, proxy.log())


def test_a_pod_whose_database_was_not_migrated_ends_with_the_command_to_run(
    engine: Engine, image: str, postgresql_server: Server
) -> None:
    settings = ["--env", f"SHOP_DATABASE_URL={postgresql_server.new_database()}"]
    exposure = ["--env", "SHOP_KEYS_FOR=nothing", "--env", "COACHMAN_BIND=127.0.0.1:0"]
    done = engine.try_podman("run", "--rm", "--network", "host", *settings, *exposure, image)
    assert done.returncode == 3, done.stderr
    assert "python -m app migrate" in done.stderr
    assert "Traceback" not in done.stderr
