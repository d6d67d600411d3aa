"""Two replicas behind the ingress: one request in all its papers, and metrics that are summed."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.parity.conftest import Alone
from tests.parity.ingress import ingress
from tests.process.collector import Collector
from tests.process.prometheus import scraping
from tests.support import web
from tests.support.service import Service, running, wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None and "CI" not in os.environ, reason="nginx is not installed"
)
ASKED = 40


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@contextmanager
def replicas(folder: Path, **settings: str) -> Iterator[list[Service]]:
    """Two processes without a master, as in containers, on one database."""
    services: list[Service] = []
    with ExitStack() as stack:
        for name in ("one", "other"):
            (own := folder / name).mkdir()
            service = Alone(
                own,
                SHOP_DATABASE_URL=f"sqlite:///{folder}/stock.db",
                COACHMAN_TRUSTED_PROXIES="127.0.0.1",
                COACHMAN_LOG_FORMAT="json",
                COACHMAN_ACCESS_LOG="on",
                **settings,
            )
            if not services:
                service.migrate()
            services.append(stack.enter_context(running(service)))
        yield services


def lines(service: Service) -> list[dict[str, object]]:
    """Its access log."""
    found = [json.loads(line) for line in service.log().splitlines()]
    return [line for line in found if line["logger"] == "coachman.access"]


def test_a_request_has_one_id_and_one_trace_from_the_ingress_to_the_line_of_its_replica(
    tmp_path: Path, collector: Collector
) -> None:
    seen: dict[str, str] = {}
    traced = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with replicas(tmp_path, **traced) as both, ingress(tmp_path, both) as url:
        for _ in range(6):
            trace = os.urandom(16).hex()
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": "of-the-client"}
            answer = web.get(f"{url}/items", headers=headers)
            assert answer.status_code == 200
            seen[answer.headers["x-request-id"]] = trace
        assert len(seen) == 6
        assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in seen), "the ingress makes them"

        def told() -> list[list[dict[str, object]]]:
            return [[line for line in lines(service) if line["request_id"] in seen] for service in both]

        assert wait_until(lambda: sum(map(len, told())) == len(seen)), [service.log() for service in both]
        assert all(told()), "each replica was asked"
        for line in (line for mine in told() for line in mine):
            assert line["trace_id"] == seen[str(line["request_id"])], line
            assert (line["route"], line["status"]) == ("/items", 200), line
        assert wait_until(lambda: set(seen.values()) <= collector.of_requests().keys()), (
            collector.of_requests()
        )


def test_prometheus_sums_one_scrape_of_each_replica(tmp_path: Path) -> None:
    (folder := tmp_path / "prometheus").mkdir()
    with (
        replicas(tmp_path) as both,
        ingress(tmp_path, both) as url,
        scraping(folder, *(service.ops_port for service in both)) as prometheus,
    ):
        ready = "job:coachman_workers_ready:sum"
        assert wait_until(lambda: prometheus.value(ready) == len(both)), prometheus.query("up")
        assert {web.get(f"{url}/items").status_code for _ in range(ASKED)} == {200}
        total = "sum(coachman_http_requests_total)"
        assert wait_until(lambda: prometheus.value(total) == ASKED), prometheus.query(total)
        by_replica = prometheus.query("sum by (instance) (coachman_http_requests_total)")
        each = [float(found["value"][1]) for found in by_replica]
        assert len(each) == 2
        assert min(each) > 0, each

        def ask() -> bool:
            return web.get(f"{url}/items").status_code == 200

        # A rate needs requests after the scrape that first saw their counter.
        rate = "job:coachman_http_requests:rate5m"
        assert wait_until(lambda: ask() and prometheus.value(rate) > 0), prometheus.query(rate)
        compiled = "job:coachman_application_requests_compiled:ratio_rate5m"
        assert wait_until(lambda: ask() and prometheus.value(compiled) == 1), prometheus.query(compiled)
        assert prometheus.value("job:coachman_replicas:count") == len(both)
