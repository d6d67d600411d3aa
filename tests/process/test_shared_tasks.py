"""What serves all connections of a process: when it dies, the process does not serve on as if it had it."""

import sys
from pathlib import Path

import pytest

from tests.support import web
from tests.support.service import Service, running, wait_until

TASKS = {
    "heartbeat",
    "rebalancing of connections",
    "flush of requests",
    "deadlines of connections",
    "operations listener",
}


def test_a_worker_that_loses_a_task_of_its_own_is_replaced_and_says_which(tmp_path: Path) -> None:
    service = Service(tmp_path, app="mortal", COACHMAN_REBALANCE="on")
    with running(service):
        service.wait_settled()
        named = set(web.get(f"{service.url}/names").json())
        assert {name for name in named if " " in name or name == "heartbeat"} == TASKS
        for name in sorted(TASKS):
            victim = web.get(f"{service.url}/end/{name}").json()
            dead = f"[{victim}] [CRITICAL] The worker's task '{name}' has died, and the worker drains"
            assert wait_until(lambda line=dead: line in service.log()), service.log()
            ended = f"(pid {victim}) exited with code 71 "
            assert wait_until(lambda line=ended: line in service.log()), service.log()
            assert wait_until(lambda pid=victim: service.is_ready() and pid not in service.worker_pids())
        assert "Traceback" not in service.log(), service.log()


class Alone(Service):
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "coachman", "serve"]


@pytest.mark.parametrize("task", ["watch of the service", "heartbeat", "operations listener"])
def test_one_process_without_a_master_ends_with_the_task_that_it_has_lost(tmp_path: Path, task: str) -> None:
    service = Alone(tmp_path, app="mortal")
    with running(service):
        web.get(f"{service.url}/end/{task}")
        assert service.wait_end() == 71, service.log()

    assert f"The worker's task '{task}' has died" in service.log(), service.log()
    assert "Traceback" not in service.log(), service.log()
