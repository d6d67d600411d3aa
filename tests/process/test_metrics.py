"""/metrics tells what has happened, whatever has been killed or handed over meanwhile."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest
from prometheus_client import Metric

from tests.process.notifications import Notifications
from tests.process.scrape import fallen, scrape
from tests.support import web
from tests.support.generations import Generations
from tests.support.load import Load
from tests.support.service import REPOSITORY, Service, is_alive, running, wait_until

REQUESTS = "coachman_http_requests_total"


def counts_in(service: Generations) -> set[str]:
    """The names of the files with counts."""
    return {path.name for path in (service.runtime_dir / "ops").glob("*.db")}


def test_known_traffic_is_told_alike_by_metrics_status_readyz_and_systemd(tmp_path: Path) -> None:
    with Notifications(tmp_path) as systemd:
        service = Generations(tmp_path, COACHMAN_WORKERS="3", NOTIFY_SOCKET=systemd.address)
        with running(service):
            with web.Client(base_url=service.url) as client:
                for _ in range(30):
                    client.get("/pid")
            for path in [*["/release"] * 12, "/nothing-here", "/nor-here"]:
                web.get(f"{service.url}{path}")
            assert wait_until(lambda: scrape(service).sum(REQUESTS) == 44), service.log()
            scraped = scrape(service)

            assert scraped.sum(REQUESTS, route="/pid", method="GET", status="200") == 30
            assert scraped.sum(REQUESTS, route="/release") == 12
            assert scraped.sum(REQUESTS, route="unmatched", status="404") == 2
            assert scraped.sum("coachman_http_request_duration_seconds_count") == 44

            def agree() -> bool:
                now, report = scrape(service), service.report()
                shown = web.get(f"{service.ops_url}/status.json").json()
                told = re.search(r"(\d+)/3 workers ready, ([\d,]+) requests", systemd.status())
                assert told, systemd.status()
                _, printed = service.coachman("status")
                return (
                    now.sum("coachman_generation_requests")
                    == now.sum("coachman_worker_requests")
                    == report["requests"]
                    == shown["requests"]
                    == sum(slot["requests"] for slot in shown["slots"])
                    == int(told[2].replace(",", ""))
                    == 44
                    and now.sum("coachman_workers", state="ready")
                    == report["ready"]
                    == shown["ready"]
                    == int(told[1])
                    == 3
                    and "3/3 workers ready, 44 requests" in printed
                )

            assert wait_until(agree), f"{service.report()} {systemd.status()}\n{service.log()}"


def test_no_counter_goes_backwards_while_workers_are_killed(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_WORKERS="2")
    with running(service), Load(service.port, "/pid", clients=4, pause=0.02) as load:
        assert wait_until(lambda: load.served() > 50), service.log()
        before = first = scrape(service)
        for _ in range(4):
            service.wait_settled()
            seen, victim = load.served(), min(service.worker_pids())
            os.kill(victim, signal.SIGKILL)
            # Until the master has seen it, the service looks settled.
            assert wait_until(lambda: victim not in service.worker_pids()), service.log()  # noqa: B023
            assert wait_until(lambda: load.served() > seen + 50), service.log()  # noqa: B023
            after = scrape(service)
            assert not fallen(before, after), service.log()
            before = after
        service.wait_ready()
        after = scrape(service)

    assert after.sum("coachman_worker_exits_total", reason="crashed") == 4
    assert after.sum("coachman_worker_exits_total") == 4
    assert after.sum(REQUESTS, route="/pid") > first.sum(REQUESTS, route="/pid") + 200
    assert counts_in(service) == {
        f"{kind}_{slot}-1.db" for kind in ("counter", "histogram") for slot in ("0", "1", "master")
    }


def test_counters_go_on_through_handovers_and_outcomes_are_counted(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service):
        with service.loaded() as loads:
            assert wait_until(lambda: loads[0].served() > 50), service.log()
            before = scrape(service)
            for number in range(2, 4):
                service.release(str(number))
                code, said = service.coachman("handover", "--no-wait")
                assert code == 0, f"{said}\n{service.log()}"
                after = scrape(service)
                assert not fallen(before, after), f"generation {number}\n{service.log()}"
                before = after
            service.release("4", at_import="raise ImportError")
            assert service.coachman("handover", "--no-wait")[0] == 1
        service.assert_no_failure(*loads)
        files = counts_in(service)
        served = sum(load.served() for load in loads)

        def all_counted() -> bool:
            return scrape(service).sum(REQUESTS, route="/pid", status="200") == served

        assert wait_until(all_counted), f"{scrape(service).sum(REQUESTS)} of {served}\n{service.log()}"
        after = scrape(service)
    assert after.sum("coachman_generation") == 3
    assert after.sum("coachman_handovers_total", outcome="accepted") == 2
    assert after.sum("coachman_handovers_total", outcome="refused") == 1
    assert files == {
        f"{kind}_{name}-{parity}.db"
        for kind in ("counter", "histogram")
        for name in ("0", "1", "master")
        for parity in (0, 1)
    }


def test_a_blocked_event_loop_and_a_full_thread_pool_are_seen(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_WORKERS="1", THREADS="2")
    with running(service):
        held = tmp_path / "held"
        held.touch()
        path = "/thread-until-let-go"
        with service.asked(path), service.asked(path), service.asked(path):

            def is_seen() -> bool:
                now = scrape(service)
                names = ("worker_threads", "worker_threads_busy", "worker_threads_waiting")
                return [now.sum(f"coachman_{name}") for name in (*names, "worker_requests_in_flight")] == [
                    *(2, 2, 1),
                    3,
                ]

            assert wait_until(is_seen), service.log()
            held.unlink()
        assert wait_until(lambda: scrape(service).sum("coachman_worker_requests_in_flight") == 0)
        web.get(f"{service.url}/block/0.7")

        def lagged() -> bool:
            now = scrape(service)
            short = now.sum("coachman_event_loop_lag_seconds_bucket", le="0.25")
            return now.sum("coachman_event_loop_lag_seconds_count") > short

        assert wait_until(lagged), service.log()


def test_every_metric_is_documented_and_every_documented_metric_is_there(probe: Service) -> None:
    web.get(f"{probe.url}/pid")
    assert wait_until(lambda: scrape(probe).sum(REQUESTS) == 1), probe.log()
    found = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in scrape(probe).families
        if family.name.startswith("coachman_")
    }
    text = (REPOSITORY / "docs" / "operations.md").read_text()

    assert set(re.findall(r"^\| `(coachman_\w+)`", text, re.MULTILINE)) == found


def test_the_data_layer_tells_what_its_writes_wait_for(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_APP="app.main:app")
    service.migrate()
    with running(service):
        for number in range(5):
            item = {"sku": f"TEA-{number}", "name": "Tea"}
            assert web.post(f"{service.url}/items", json=item).status_code == 201
        found: list[Metric] = []

        def has_gauges() -> bool:  # which are measured beside the requests
            found[:] = scrape(service).families
            return any(sample.name == "app_database_wal_bytes" for one in found for sample in one.samples)

        assert wait_until(has_gauges), service.log()

    samples = {sample.name: sample.value for family in found for sample in family.samples}
    assert samples["app_database_batch_size_sum"] >= 5, service.log()
    assert samples["app_database_gate_wait_seconds_count"] >= 5
    assert samples["app_database_wal_bytes"] > 0
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(app_\w+)`", text, re.MULTILINE))
    assert documented == {family.name for family in found if family.name.startswith("app_")}


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    service = Generations(tmp_path, COACHMAN_METRICS="false")
    with running(service):
        assert web.get(f"{service.url}/pid").status_code == 200
        answer = web.get(f"{service.ops_url}/metrics")
        assert (answer.status_code, "COACHMAN_METRICS" in answer.text) == (503, True)
        assert not counts_in(service)


def test_an_application_that_fills_the_event_loops_threads_blinds_nobody(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_WORKERS="1")
    let_go = tmp_path / "held"
    let_go.touch()
    with running(service), contextlib.ExitStack() as held:
        threads = min(32, (os.cpu_count() or 1) + 4)  # of asyncio's pool
        for _ in range(2 * threads):
            held.enter_context(service.asked("/occupy-until-let-go"))
        assert wait_until(lambda: service.slots()[0]["in_flight"] == 2 * threads), service.log()
        with web.Client(base_url=service.ops_url) as client:
            for path in ("/metrics", "/status.json"):
                assert client.get(path).status_code == 200
            with client.stream("GET", "/events") as events:
                assert "data: " in next(events.iter_text())
        let_go.unlink()


@pytest.mark.parametrize("arguments", [(), ("--daemon",)], ids=["foreground", "daemon"])
def test_a_crash_is_counted_however_the_master_was_started(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    service = Service(tmp_path, *arguments, app="acts", COACHMAN_WORKERS="1")
    service.start()
    try:
        assert wait_until(lambda: web.get(f"{service.ops_url}/readyz").status_code == 200), service.log()
        report = service.report()
        os.kill(report["slots"][0]["pid"], signal.SIGKILL)
        crashed = {"reason": "crashed"}
        assert wait_until(lambda: scrape(service).sum("coachman_worker_exits_total", **crashed) == 1)
        os.kill(report["master"], signal.SIGTERM)
        assert wait_until(lambda: not is_alive(report["master"])), service.log()
    finally:
        service.end()
