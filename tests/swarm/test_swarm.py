"""The shipped stack on a Swarm of three nodes: in the order of the file, for what was killed stays away.

Each event happens under load by a client that never repeats a request and counts every failure.
"""

import json
import re
import time
from collections import Counter

import pytest

from tests.support.load import Load
from tests.support.service import wait_until
from tests.swarm.cluster import KEY, Cluster, goes_on
from tests.swarm.node import BROKEN, NEVER_HEALTHY, NEXT

BEARER = {"Authorization": f"Bearer {KEY}"}
ASKED = 40
ITEM = {"sku": "SWARM", "name": "Of the tests"}


def note(results: list[str], event: str, load: Load, seconds: float) -> None:
    failures = Counter({kind: count for kind, count in load.outcomes.items() if kind != "success"})
    shown = ", ".join(f"{count} {kind}" for kind, count in failures.items()) or "0"
    results.append(f"| {event} | {load.served():,} | {shown} | {seconds:.0f} s |")


def test_the_stack_serves_through_the_ingress(cluster: Cluster) -> None:
    status, headers, item = cluster.ask("POST", "/items", ITEM, BEARER)
    assert status == 201, cluster.about("web")
    assert cluster.ask("GET", f"/items/{item['id']}")[2]["sku"] == "SWARM"
    assert cluster.ask("POST", "/items", ITEM)[0] == 401
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"]), headers


def test_each_replica_is_the_worker_of_a_vm(cluster: Cluster) -> None:
    ready = cluster.ask_each("/readyz")
    assert len(ready) == 2, ready
    # The DNS of each node learns of a task by gossip: some seconds after the task is healthy.
    assert wait_until(lambda: is_each_asked(cluster), seconds=60), cluster.about("web")
    before = {address: requests(text) for address, text in cluster.ask_each("/metrics").items()}
    compiled = sum(map(by_compiled_functions, cluster.ask_each("/metrics").values()))
    assert {cluster.ask("GET", "/items")[0] for _ in range(ASKED)} == {200}
    after = {address: requests(text) for address, text in cluster.ask_each("/metrics").items()}
    # One scrape for each replica: only together do they know of every request, and nginx uses both.
    assert sum(after.values()) - sum(before.values()) == ASKED, (before, after)
    assert all(after[address] > before[address] for address in before), (before, after)
    assert sum(map(by_compiled_functions, cluster.ask_each("/metrics").values())) - compiled == ASKED


def test_scaling_up_and_down_fails_no_request(cluster: Cluster, results: list[str]) -> None:
    begun = time.monotonic()
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        cluster.scale(1)
        assert goes_on(load), load.outcomes
        cluster.scale(4)
        assert goes_on(load), load.outcomes
        assert len(cluster.ask_each("/readyz")) == 4
        assert len(set(cluster.tasks().values())) == 3, cluster.tasks()
        cluster.scale(1)
        assert goes_on(load), load.outcomes
        cluster.scale(2)
    note(results, "scale 2, 1, 4, 1, 2", load, time.monotonic() - begun)
    assert set(load.outcomes) == {"success"}, (load.outcomes, cluster.about("web"))


def test_a_rolling_update_fails_no_request(cluster: Cluster, results: list[str]) -> None:
    before, begun = cluster.tasks(), time.monotonic()
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        cluster.update("--image", NEXT, "--env-add", "COACHMAN_ACCESS_LOG=on")
        assert goes_on(load), load.outcomes
    note(results, "rolling update", load, time.monotonic() - begun)
    assert cluster.update_state() == "completed"
    assert not before.keys() & cluster.tasks().keys()
    assert set(load.outcomes) == {"success"}, (load.outcomes, cluster.about("web"))


def test_a_request_is_followed_through_the_ingress_to_the_line_of_its_replica(cluster: Cluster) -> None:
    status, headers, _ = cluster.ask("GET", "/items", headers={"X-Request-ID": "chosen-by-the-client"})
    assert status == 200
    identifier = headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", identifier), headers

    def lines() -> list[str]:
        return [line for line in cluster.log("web").splitlines() if identifier in line]

    assert wait_until(lambda: len(lines()) == 1, seconds=60), cluster.about("web")
    line = json.loads(lines()[0])
    assert (line["logger"], line["route"], line["status"]) == ("coachman.access", "/items", 200), line
    assert line["request_id"] == identifier


def test_prometheus_in_the_stack_scrapes_each_replica_and_sums_them(cluster: Cluster) -> None:
    cluster.deploy_prometheus()
    ready = lambda: cluster.measured("job:coachman_workers_ready:sum") == 2  # noqa: E731
    assert wait_until(ready, seconds=120), cluster.about("prometheus")
    assert cluster.measured('count(up{job="coachman"} == 1)') == 2
    before = cluster.measured("sum(coachman_http_requests_total)")
    assert {cluster.ask("GET", "/items")[0] for _ in range(ASKED)} == {200}
    is_counted = lambda: cluster.measured("sum(coachman_http_requests_total)") >= before + ASKED  # noqa: E731
    assert wait_until(is_counted, seconds=60), cluster.about("prometheus")


@pytest.mark.parametrize(
    ("image", "what"),
    [(BROKEN, "does not start"), (NEVER_HEALTHY, "is never healthy")],
    ids=["does_not_start", "never_healthy"],
)
def test_a_release_that_does_not_serve_is_rolled_back(
    cluster: Cluster, results: list[str], image: str, what: str
) -> None:
    before, begun = cluster.tasks(), time.monotonic()
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        cluster.update("--detach", "--image", image)
        is_back = lambda: cluster.update_state() == "rollback_completed"  # noqa: E731
        assert wait_until(is_back, seconds=300), cluster.about("web")
        assert goes_on(load), load.outcomes
    note(results, f"update to an image that {what}", load, time.monotonic() - begun)
    assert cluster.image() == NEXT
    # At most one was replaced before Swarm knew; start-first keeps all of the old ones.
    assert len(before.keys() & cluster.tasks().keys()) >= 1
    assert set(load.outcomes) == {"success"}, (load.outcomes, cluster.about("web"))


def test_a_drained_node_fails_no_request(cluster: Cluster, results: list[str]) -> None:
    cluster.scale(3)
    begun = time.monotonic()
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        cluster.manager.docker("node", "update", "--availability", "drain", "worker2")
        is_empty = lambda: "worker2" not in cluster.tasks().values() and len(cluster.tasks()) == 3  # noqa: E731
        assert wait_until(is_empty, seconds=300), cluster.about("web")
        assert goes_on(load), load.outcomes
    note(results, "node drained", load, time.monotonic() - begun)
    cluster.manager.docker("node", "update", "--availability", "active", "worker2")
    assert set(load.outcomes) == {"success"}, (load.outcomes, cluster.about("web"))


def test_while_postgresql_restarts_requests_get_503_and_nothing_else(
    cluster: Cluster, results: list[str]
) -> None:
    before, begun = cluster.tasks(), time.monotonic()
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        cluster.update("--force", name="database")
        assert goes_on(load), (load.outcomes, cluster.about("database"))
    note(results, "PostgreSQL restarted", load, time.monotonic() - begun)
    assert set(load.outcomes) <= {"success", "status 503"}, (load.outcomes, cluster.about("web"))
    assert cluster.tasks().keys() == before.keys(), cluster.about("web")
    assert cluster.ask("GET", "/items")[2]["items"], "what was written is gone"


@pytest.mark.parametrize("name", ["worker1"])
def test_a_killed_node_costs_nothing_but_time(cluster: Cluster, results: list[str], name: str) -> None:
    cluster.scale(4)
    assert name in cluster.tasks().values(), cluster.tasks()
    begun = time.monotonic()
    [node] = [node for node in cluster.nodes if node.name == name]
    with cluster.load() as load:
        assert goes_on(load), load.outcomes
        node.kill()
        is_elsewhere = lambda: (  # noqa: E731
            len(cluster.tasks()) == 4 and name not in cluster.tasks().values()
        )
        assert wait_until(is_elsewhere, seconds=300), cluster.about("web")
        assert goes_on(load), load.outcomes
    note(results, "node killed", load, time.monotonic() - begun)
    results.append(f"| the longest wait then | {max(answer.seconds for answer in load.answers):.1f} s | | |")
    assert set(load.outcomes) == {"success"}, (load.outcomes, cluster.about("web"))


def is_each_asked(cluster: Cluster) -> bool:
    """Whether the ingress sends requests to each replica. Asks once."""
    cluster.ask("GET", "/items")
    return all(requests(text) > 0 for text in cluster.ask_each("/metrics").values())


def requests(metrics: str) -> int:
    """How many requests a replica has answered, by its metrics."""
    rows = re.findall(r"^coachman_http_requests_total\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
    return int(sum(map(float, rows)))


def by_compiled_functions(metrics: str) -> int:
    rows = re.findall(r'^coachman_application_requests_total\{by="compiled"\} (\S+)$', metrics, re.MULTILINE)
    return int(sum(map(float, rows)))
