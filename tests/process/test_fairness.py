"""Keep-alive connections are shared by the workers, also by those that come later."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.service import APPS, Service, running, wait_until

CLIENTS = 12


def connections(service: Service) -> list[int]:
    return [slot["connections"] for slot in service.slots() if slot["state"] == "ready"]


def is_even(service: Service, workers: int) -> bool:
    found = connections(service)
    return len(found) == workers and sum(found) == CLIENTS and max(found) - min(found) <= 1


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_are_even_and_even_again_after_a_kill_and_a_scale(tmp_path: Path, loop: str) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_WORKERS="3", COACHMAN_LOOP=loop)
    with running(service), Load(service.port, "/pid", clients=CLIENTS, pause=0.02) as load:
        assert wait_until(lambda: is_even(service, 3)), f"{connections(service)}\n{service.log()}"
        service.wait_settled()
        assert load.outcomes.keys() == {"success"}, load.outcomes

        victim = min(service.worker_pids())
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: victim not in service.worker_pids() and is_even(service, 3)), (
            f"{connections(service)}\n{service.log()}"
        )
        lost = load.outcomes.total() - load.served()
        assert lost <= CLIENTS // 3 + 1, f"only what the killed worker had: {load.outcomes}"

        service.process.send_signal(signal.SIGTTIN)
        assert wait_until(lambda: is_even(service, 4)), f"{connections(service)}\n{service.log()}"
        assert wait_until(lambda: set(Counter(load.answered_by()).values()) == {3}), load.answered_by()
        assert load.outcomes.total() - load.served() == lost, f"a rebalance loses nothing: {load.outcomes}"
        assert service.report()["imbalance"] <= 1.34


def test_a_worker_that_does_not_move_for_a_while_loses_nothing_and_holds_nobody_back(tmp_path: Path) -> None:
    service = Service(tmp_path, COACHMAN_APP="probe:app", COACHMAN_WORKERS="3", PYTHONPATH=APPS)
    with running(service), Load(service.port, "/pid", clients=CLIENTS, pause=0.02) as load:
        assert wait_until(lambda: is_even(service, 3)), f"{connections(service)}\n{service.log()}"
        stopped = min(service.worker_pids())
        os.kill(stopped, signal.SIGSTOP)
        try:
            with Load(service.port, "/pid", clients=2, keep_alive=False) as newcomers:
                assert wait_until(lambda: newcomers.served() >= 20), newcomers.outcomes
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert wait_until(lambda: is_even(service, 3)), f"{connections(service)}\n{service.log()}"
    assert load.outcomes.keys() == newcomers.outcomes.keys() == {"success"}, (
        load.outcomes,
        newcomers.outcomes,
    )
