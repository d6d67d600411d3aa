"""Workers that are replaced because they have served long enough."""

import contextlib
import http.client
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from tests.support import web
from tests.support.load import Load
from tests.support.service import Service, running, wait_until


class Watch:
    """Keeps every report of the ops listener until the block ends."""

    def __init__(self, service: Service) -> None:
        self.reports: list[dict[str, Any]] = []
        self._service = service
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def fewest_ready(self) -> int:
        """Also one that has waited for CPU time for so long that its heartbeat is late."""
        return min(_states(report)["ready"] for report in self.reports)

    def most_leaving(self) -> int:
        return max(_states(report)["draining"] for report in self.reports)

    def most_starting(self) -> int:
        return max(_states(report)["starting"] for report in self.reports)

    def _look(self) -> None:
        with web.Client(base_url=self._service.ops_url) as client:
            while not self._end.wait(0.02):
                with contextlib.suppress(httpx2.TransportError):  # of one that has left
                    self.reports.append(client.get("/readyz").json())


def _states(report: dict[str, Any]) -> Counter[str]:
    return Counter(slot["state"] for slot in report["slots"])


def recycled(service: Service) -> set[int]:
    """The pids of those that have left for it."""
    return {int(pid) for pid in re.findall(r"\(pid (\d+)\) exited .*: recycled-", service.log())}


def reasons(service: Service) -> set[str]:
    return {slot["last_exit"]["reason"] for slot in service.slots() if slot["last_exit"]}


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"COACHMAN_MAX_REQUESTS": "200"}, "recycled-requests"),
        ({"COACHMAN_MAX_AGE_SECONDS": "1"}, "recycled-age"),
    ],
)
def test_recycling_fails_no_request_and_costs_no_capacity(
    tmp_path: Path, limit: dict[str, str], reason: str
) -> None:
    # A successor that is ready at once would be in time even if nobody waited for it.
    service = Service(tmp_path, app="probe", START_SECONDS="0.3", **limit)
    with (
        running(service),
        Watch(service) as watch,
        Load(service.port, "/pid", clients=4, pause=0.002) as kept,
        Load(service.port, "/pid", clients=2, keep_alive=False, pause=0.002) as one_shot,
    ):
        assert wait_until(lambda: len(recycled(service)) >= 3), service.log()
        assert reason in reasons(service)

    assert set(kept.outcomes) == set(one_shot.outcomes) == {"success"}, (
        f"{kept.failures} {one_shot.failures}\n{service.log()}"
    )
    assert watch.fewest_ready() >= 2, "an old worker left before its successor was ready"
    assert watch.most_starting() <= 1, "two successors were started at once"
    assert watch.most_leaving() <= 1, "two were recycled at once"  # a short drain may fall between two looks


def test_a_leak_is_recycled_one_worker_at_a_time_and_fails_no_request(tmp_path: Path) -> None:
    service = Service(tmp_path, app="acts", COACHMAN_MAX_RSS_MB="200")
    with (
        running(service),
        Watch(service) as watch,
        Load(service.port, "/leak", clients=2, keep_alive=False, pause=0.1) as load,
    ):
        assert wait_until(lambda: len(recycled(service)) >= 2), f"{service.slots()}\n{service.log()}"
        assert "recycled-memory" in reasons(service)

    assert set(load.outcomes) == {"success"}, f"{load.failures}\n{service.log()}"
    assert watch.fewest_ready() >= 2
    assert watch.most_leaving() <= 1


def test_open_event_streams_keep_no_capacity_from_the_others(tmp_path: Path) -> None:
    service = Service(
        tmp_path,
        app="streams",
        COACHMAN_MAX_REQUESTS="50",
        COACHMAN_DRAIN_SECONDS="5",
        COACHMAN_KEEPALIVE_SECONDS="1",
    )
    with running(service), service.asked("/endless-events") as one, service.asked("/endless-events") as other:
        streams = [one.getresponse(), other.getresponse()]
        held_by = {int(stream.readline().split()[1]) for stream in streams}
        with (
            Watch(service) as watch,
            Load(service.port, "/pid", clients=4, keep_alive=False, pause=0.002) as load,
        ):
            assert wait_until(lambda: held_by <= recycled(service)), service.log()
        for stream in streams:
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                stream.read()

    assert set(load.outcomes) == {"success"}, f"{load.failures}\n{service.log()}"
    assert watch.fewest_ready() >= 2, "a worker that only streams counted as one that serves"
    assert watch.most_leaving() == 1, "two were recycled at once, or none while its stream was open"


def test_nobody_is_recycled_while_the_service_is_degraded(tmp_path: Path) -> None:
    service = Service(tmp_path, app="starts", COACHMAN_MAX_REQUESTS="50")
    with running(service):
        service.wait_settled()
        (tmp_path / "fail").touch()
        victim, survivor = service.slots()
        os.kill(victim["pid"], signal.SIGKILL)
        assert wait_until(lambda: service.report()["status"] == "degraded"), service.log()
        with Load(service.port, "/pid", clients=2) as load:
            assert wait_until(lambda: load.served() > 200), service.log()
            assert wait_until(lambda: service.slots()[0]["failures"] >= 3), service.log()
            assert service.slots()[1]["pid"] == survivor["pid"], service.log()
            assert "is to be replaced" not in service.log(), service.log()

            (tmp_path / "fail").unlink()
            assert wait_until(lambda: recycled(service)), service.log()
    assert set(load.outcomes) == {"success"}, f"{load.failures}\n{service.log()}"
