"""FastAPI's own traces, sent to a real receiver on loopback."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.collector import Collector
from tests.support import web
from tests.support.generations import Generations
from tests.support.ports import free_port
from tests.support.service import running, wait_until


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def traced(folder: Path, endpoint: str, **settings: str) -> Generations:
    service = Generations(
        folder,
        COACHMAN_APP="app.main:app",
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_BSP_SCHEDULE_DELAY="60000",  # by itself nothing would come in time: only a flush sends it
        **settings,
    )
    service.migrate()
    return service


def ask(service: Generations, count: int) -> set[str]:
    """The trace ids of that many requests, each on a connection of its own."""
    ids = {os.urandom(16).hex() for _ in range(count)}
    for one in ids:
        headers = {"traceparent": f"00-{one}-00f067aa0ba902b7-01"}
        assert web.get(f"{service.url}/items", headers=headers).status_code == 200
    return ids


def test_traces_of_all_answered_requests_arrive_through_a_kill_a_handover_and_a_stop(
    tmp_path: Path, collector: Collector
) -> None:
    service = traced(tmp_path, collector.url)
    with running(service):
        service.wait_settled()
        victim, *_ = service.worker_pids()
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: victim not in service.worker_pids() and service.is_ready()), service.log()
        first = ask(service, 10)
        code, said = service.coachman("handover", "--no-wait")
        assert code == 0, said
        assert wait_until(lambda: first <= collector.of_requests().keys()), service.log()
        second = ask(service, 10)
        os.kill(service.masters()[0].service.pid, signal.SIGTERM)  # the old one may still drain
        assert wait_until(lambda: second <= collector.of_requests().keys()), service.log()

    assert set(collector.of_requests().values()) == {"GET /items"}
    assert any(span.parent_span_id.hex() == "00f067aa0ba902b7" for span in collector.spans)


def test_log_lines_name_the_trace(tmp_path: Path, collector: Collector) -> None:
    service = traced(tmp_path, collector.url, COACHMAN_LOG_FORMAT="json", COACHMAN_ACCESS_LOG="on")
    with running(service):
        [trace] = ask(service, 1)
    told = [json.loads(line) for line in service.log().splitlines() if '"route"' in line]

    assert [line["trace_id"] for line in told] == [trace]


def test_a_receiver_that_is_not_there_costs_the_traces_and_no_request(tmp_path: Path) -> None:
    service = traced(tmp_path, f"http://127.0.0.1:{free_port()}", COACHMAN_DRAIN_SECONDS="20")
    with running(service):
        ask(service, 5)
        service.process.send_signal(signal.SIGTERM)
        assert service.wait_end() == 0, service.log()
    # As a worker would be whose flush outlasts the drain and its margin.
    assert "SIGKILL" not in service.log(), service.log()
