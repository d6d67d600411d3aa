"""An application whose lifespan dies while its worker serves."""

from pathlib import Path

import httpx2

from tests.support.service import Service, running, wait_until


def test_a_worker_whose_lifespan_has_died_is_replaced_and_says_why(tmp_path: Path) -> None:
    service = Service(tmp_path, app="dying")
    with running(service):
        service.wait_ready()
        old = service.worker_pids()
        victim = httpx2.get(f"{service.url}/die").json()

        assert wait_until(lambda: len(service.worker_pids() - old) == 1 and service.is_ready()), service.log()
        assert service.worker_pids() & old == old - {victim}, "the other worker serves on"
        log = service.log()
        assert "The application's lifespan has ended by itself: the consumer lost its broker (" in log, log
        [ended] = [slot for slot in service.slots() if slot["last_exit"]]
        assert ended["failures"] == 1, "it is a failure, and failures back off"
        assert httpx2.get(f"{service.url}/pid").status_code == 200
