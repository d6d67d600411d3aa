"""What deploy/monitoring ships, with a real Prometheus and a real service."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.process.prometheus import MONITORING, program, scraping
from tests.support.deadlines import COMMAND_SECONDS
from tests.support.generations import Generations
from tests.support.service import REPOSITORY, running, wait_until


@pytest.mark.parametrize(
    "check",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "config", "prometheus-swarm.yml"],
        ["check", "rules", "coachman.rules.yml"],
        ["test", "rules", "coachman.rules.test.yml"],
        ["check", "rules", "replicas.rules.yml"],
        ["test", "rules", "replicas.rules.test.yml"],
    ],
)
def test_promtool_finds_nothing_wrong(check: list[str]) -> None:
    said = subprocess.run(
        [program("promtool"), *check], cwd=MONITORING, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )

    assert said.returncode == 0, said.stdout + said.stderr


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    expressions += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return [
        expression.replace("$instance", ".*").replace("$__rate_interval", "1m") for expression in expressions
    ]


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    documented = set(
        re.findall(r"^\| `(coachman_\w+)`", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE)
    )
    rules = [(MONITORING / name).read_text() for name in ("coachman.rules.yml", "replicas.rules.yml")]
    asked = "\n".join([*dashboard_expressions(), *rules])
    found = re.findall(r"(?<!:)\bcoachman_\w+", asked)  # after a colon: the name of a recording rule
    names = {re.sub(r"_bucket$", "", name) for name in found if name != "coachman_"}

    assert names <= documented, names - documented


def test_a_prometheus_that_scrapes_through_kills_and_a_handover_sees_no_counter_fall(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    with running(service), service.loaded() as loads, scraping(tmp_path, service.ops_port) as prometheus:
        for _ in range(3):
            service.wait_settled()
            victim = min(service.worker_pids())
            os.kill(victim, signal.SIGKILL)
            assert wait_until(lambda: victim not in service.worker_pids() and service.is_ready())  # noqa: B023
        code, said = service.coachman("handover", "--no-wait")
        assert code == 0, said

        def has_seen_it_all() -> bool:
            return (
                prometheus.value("max(coachman_generation)") == 2
                and prometheus.value('coachman_worker_exits_total{reason="crashed"}') == 3
                and prometheus.value('coachman_handovers_total{outcome="accepted"}') == 1
            )

        assert wait_until(has_seen_it_all), service.log()
        for name in ("coachman_.*_total", "coachman_.*_bucket", "coachman_.*_count", "coachman_.*_sum"):
            # resets() drops the name, without which two counters that have no labels would be one series.
            named = f'label_replace({{__name__=~"{name}"}}, "counter", "$1", "__name__", "(.*)")'
            fallen = prometheus.query(f"resets({named}[10m:]) > 0")
            assert not fallen, fallen
        assert prometheus.value("avg_over_time(up[10m])") > 0.5
        assert prometheus.value("sum(coachman_http_requests_total)") > 100

        def empty() -> list[str]:
            """After a scrape that failed Prometheus knows no present value until the next."""
            # Nothing has failed or was refused here, the app has no database, and comparisons leave out.
            absent = ("5..", "app_database", "> 0", "refused")
            asked = [each for each in dashboard_expressions() if not any(one in each for one in absent)]
            return [expression for expression in asked if not prometheus.query(expression)]

        assert wait_until(lambda: not empty()), empty()
    assert all(load.served() for load in loads)
