import asyncio
import os
import re
import signal
import time
from pathlib import Path

import httpx2
import pytest

from tests.process.conftest import APPS
from tests.process.load import Load
from tests.process.service import Service, children, is_alive, is_port_free, running, wait_until


def test_readyz_names_every_worker_and_the_public_listener_knows_nothing_of_it(service: Service) -> None:
    slots = service.slots()

    assert [slot["slot"] for slot in slots] == [0, 1, 2, 3]
    assert {slot["pid"] for slot in slots} == children(service.process.pid)
    assert httpx2.get(f"{service.ops_url}/livez").json()["status"] == "alive"
    assert httpx2.get(f"{service.ops_url}/items").status_code == 404
    assert httpx2.post(f"{service.ops_url}/readyz").status_code == 405
    assert {httpx2.get(f"{service.url}/{path}").status_code for path in ("livez", "readyz")} == {404}


def test_killed_worker_is_replaced_while_the_others_serve(service: Service) -> None:
    before = service.worker_pids()
    victim = min(before)

    with Load(service.port, "/items?limit=1", clients=16) as load:
        assert wait_until(lambda: load.served() > 200), service.log()
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: len(service.worker_pids() - before) == 1), service.log()
        seen = load.served()
        assert wait_until(lambda: load.served() > seen + 200), service.log()

    # Each client has one request under way, and reconnects after losing it: none can fail twice.
    failures = load.outcomes.total() - load.outcomes["success"]
    assert failures <= 16, f"{load.outcomes}\n{service.log()}"
    assert service.worker_pids() >= before - {victim}, "a healthy worker was restarted too"
    assert [slot["restarts"] for slot in service.slots()].count(1) == 1
    assert wait_until(lambda: httpx2.get(f"{service.url}/items").status_code == 200)


def gated(folder: Path, gate: Path) -> Service:
    """Two workers whose start-up waits while the gate is there."""
    return Service(folder, COACHMAN_APP="gated:app", GATE=str(gate), COACHMAN_WORKERS="2", PYTHONPATH=APPS)


def test_readyz_says_degraded_while_a_worker_is_missing(tmp_path: Path) -> None:
    # The replacement's start-up hangs: one of two workers serves.
    gate = tmp_path / "gate"
    service = gated(tmp_path, gate)
    with running(service):
        gate.touch()
        os.kill(min(service.worker_pids()), signal.SIGKILL)

        assert wait_until(lambda: httpx2.get(f"{service.ops_url}/readyz").status_code == 503), service.log()
        report = httpx2.get(f"{service.ops_url}/readyz").json()
        assert (report["status"], report["ready"], report["workers"]) == ("degraded", 1, 2), (
            f"{report}\n{service.log()}"
        )

        gate.unlink()
        service.wait_ready()


def test_a_worker_that_cannot_start_waits_longer_each_time_while_its_sibling_serves(tmp_path: Path) -> None:
    down = tmp_path / "down"
    service = Service(
        tmp_path, COACHMAN_APP="broken:app", DOWN=str(down), COACHMAN_WORKERS="2", PYTHONPATH=APPS
    )
    with running(service):
        down.touch()
        os.kill(min(service.worker_pids()), signal.SIGKILL)

        killed = time.monotonic()
        with Load(service.port, "/", clients=4) as load:
            assert wait_until(lambda: max(slot["failures"] for slot in service.slots()) >= 5), service.log()
            waited = time.monotonic() - killed
            down.unlink()
            service.wait_ready()

    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{service.log()}"
    delays = [float(delay) for delay in re.findall(r"the next one starts in ([\d.]+) s", service.log())]
    assert delays[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], rel=0.28), service.log()
    assert waited >= 0.75 * (0.1 + 0.2 + 0.4 + 0.8), f"five failures within {waited} s\n{service.log()}"


def test_one_worker_fewer_before_the_service_is_ready_ends_only_that_worker(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    service = gated(tmp_path, gate)
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        service.process.send_signal(signal.SIGTTOU)
        assert wait_until(lambda: len(children(service.process.pid)) == 1), service.log()

        gate.unlink()
        service.wait_ready()


def test_a_stop_while_workers_start_ends_cleanly(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    service = gated(tmp_path, gate)
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        os.killpg(service.process.pid, signal.SIGINT)

        assert service.wait_end(seconds=5) == 0, service.log()
    assert not any(word in service.log() for word in ("ERROR", "WARNING", "Traceback")), service.log()


def test_workers_of_a_killed_master_end_and_free_the_port(service: Service) -> None:
    workers = service.worker_pids()

    service.process.kill()

    assert wait_until(lambda: not any(map(is_alive, workers)), seconds=5), service.log()
    # The kernel closes files when the last thread of a process has ended, a moment after its first.
    assert wait_until(lambda: is_port_free(service.port), seconds=5), service.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_ends_every_process_and_logs_no_complaint(service: Service, signum: signal.Signals) -> None:
    workers = service.worker_pids()

    service.process.send_signal(signum)

    assert service.wait_end(seconds=5) == 0, service.log()
    assert not any(map(is_alive, workers))
    assert not any(word in service.log() for word in ("ERROR", "WARNING", "Traceback")), service.log()


def test_ctrl_c_in_a_terminal_ends_cleanly(service: Service) -> None:
    os.killpg(service.process.pid, signal.SIGINT)

    assert service.wait_end(seconds=5) == 0
    assert not any(word in service.log() for word in ("ERROR", "WARNING", "Traceback")), service.log()


def test_sigttin_and_sigttou_change_the_number_of_workers(service: Service) -> None:
    service.process.send_signal(signal.SIGTTIN)
    assert wait_until(lambda: len(service.worker_pids()) == 5), service.log()
    assert httpx2.get(f"{service.ops_url}/readyz").json()["workers"] == 5

    service.process.send_signal(signal.SIGTTOU)
    assert wait_until(lambda: len(service.worker_pids()) == 4), service.log()
    assert service.is_ready()


@pytest.mark.parametrize(
    ("loop", "module"), [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio"), ("rloop", "rloop")]
)
def test_the_chosen_event_loop_reaches_the_worker(tmp_path: Path, loop: str, module: str) -> None:
    service = Service(
        tmp_path, COACHMAN_APP="probe:app", COACHMAN_LOOP=loop, COACHMAN_WORKERS="1", PYTHONPATH=APPS
    )
    with running(service):
        assert httpx2.get(f"{service.url}/loop").json() == module


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    service = Service(tmp_path, COACHMAN_BIND=f"unix:{path}", COACHMAN_WORKERS="1")
    service.migrate()
    with (
        running(service),
        httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://shop") as client,
    ):
        assert client.get("/items").status_code == 200


@pytest.mark.parametrize("extra", [(), ("--config", "/dev/null", "--no-control-socket")])
def test_the_plain_gunicorn_command_serves_with_our_worker(tmp_path: Path, extra: tuple[str, ...]) -> None:
    command = "app.main:app --workers 4 --worker-class coachman.worker.Worker --bind 127.0.0.1:{port}"
    service = Service(tmp_path, *command.split(), *extra)
    service.migrate()
    with running(service, ready=False):
        assert wait_until(lambda: httpx2.get(f"{service.url}/items").status_code == 200), service.log()
        assert wait_until(lambda: len(children(service.process.pid)) == 4), service.log()


def test_equal_idempotency_keys_at_once_on_several_workers_book_once(service: Service) -> None:
    async def book() -> None:
        async with httpx2.AsyncClient(base_url=service.url) as client:
            item = (await client.post("/items", json={"sku": "once", "name": "Once"})).json()
            path = f"/items/{item['id']}/movements"
            for round_ in range(20):
                answers = await asyncio.gather(
                    *(_post_on_a_fresh_connection(service.url + path, f"key-{round_}") for _ in range(8))
                )
                assert {answer.status_code for answer in answers} == {201}
                assert len({answer.text for answer in answers}) == 1
            stock = (await client.get(f"/items/{item['id']}")).json()["quantity"]
            assert stock == 20

    asyncio.run(book())


async def _post_on_a_fresh_connection(url: str, key: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as client:
        body = {"delta": 1, "reason": "receipt"}
        return await client.post(url, json=body, headers={"Idempotency-Key": key})


def test_concurrent_movements_through_all_workers_keep_the_books(service: Service) -> None:
    async def trade() -> None:
        async with httpx2.AsyncClient(base_url=service.url, timeout=30) as client:
            item = (await client.post("/items", json={"sku": "trade", "name": "Trade"})).json()
            url = f"{service.url}/items/{item['id']}/movements"
            answers = await asyncio.gather(*(_move(url, 3 if n % 2 else -2) for n in range(200)))
            assert {answer.status_code for answer in answers} <= {201, 409}
            booked = sum(answer.json()["delta"] for answer in answers if answer.status_code == 201)
            stock = (await client.get(f"/items/{item['id']}")).json()["quantity"]
            assert stock == booked == await _sum_of_movements(client, item["id"])

    asyncio.run(trade())


async def _move(url: str, delta: int) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=30) as client:
        return await client.post(url, json={"delta": delta, "reason": "receipt" if delta > 0 else "sale"})


async def _sum_of_movements(client: httpx2.AsyncClient, item_id: int) -> int:
    total, cursor = 0, ""
    while cursor is not None:
        query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"/items/{item_id}/movements", params=query)).json()
        total += sum(movement["delta"] for movement in page["items"])
        cursor = page["next_cursor"]
    return total


def test_the_documentation_page_is_announced_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    announcements = []
    for folder, app in ((tmp_path, "probe:app"), (tmp_path / "without", "undocumented:app")):
        with running(Service(folder, COACHMAN_APP=app, COACHMAN_WORKERS="1", PYTHONPATH=APPS)) as service:
            announcements.append(f"(interactive docs: {service.url}/docs)" in service.log())

    assert announcements == [True, False]
