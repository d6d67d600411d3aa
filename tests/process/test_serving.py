import asyncio
import os
import signal
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support import web
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.service import APPS, Service, children, is_alive, running, wait_until

# Made once: to read the certificates again for each of 200 clients takes longer than their time limit.
TRUST = ssl.create_default_context()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The shipped application with four workers; each test has an item of its own."""
    service = Service(tmp_path_factory.mktemp("shop"), COACHMAN_WORKERS="4")
    service.migrate()
    with running(service):
        yield service


def test_readyz_names_every_worker_and_the_public_listener_knows_nothing_of_it(probe: Service) -> None:
    slots = probe.slots()

    assert [slot["slot"] for slot in slots] == [0, 1, 2, 3]
    assert {slot["pid"] for slot in slots} == children(probe.process.pid)
    assert web.get(f"{probe.ops_url}/livez").json()["status"] == "alive"
    assert web.get(f"{probe.ops_url}/pid").status_code == 404
    assert web.post(f"{probe.ops_url}/readyz").status_code == 405
    assert {web.get(f"{probe.url}/{path}").status_code for path in ("livez", "readyz")} == {404}


def test_readyz_says_degraded_while_a_worker_is_missing(tmp_path: Path) -> None:
    # The replacement's start-up hangs: one of two workers serves.
    gate = tmp_path / "gate"
    service = Service(tmp_path, app="gated")
    with running(service):
        gate.touch()
        os.kill(min(service.worker_pids()), signal.SIGKILL)

        assert wait_until(lambda: web.get(f"{service.ops_url}/readyz").status_code == 503), service.log()
        report = web.get(f"{service.ops_url}/readyz").json()
        assert (report["status"], report["ready"], report["workers"]) == ("degraded", 1, 2), (
            f"{report}\n{service.log()}"
        )

        gate.unlink()
        service.wait_ready()


def test_one_worker_fewer_before_the_service_is_ready_ends_only_that_worker(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    service = Service(tmp_path, app="gated")
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        service.process.send_signal(signal.SIGTTOU)
        assert wait_until(lambda: len(children(service.process.pid)) == 1), service.log()

        gate.unlink()
        service.wait_ready()


def test_a_stop_while_workers_start_ends_cleanly(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    service = Service(tmp_path, app="gated")
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        os.killpg(service.process.pid, signal.SIGINT)

        assert service.wait_end() == 0, service.log()
    assert not any(word in service.log() for word in ("ERROR", "WARNING", "Traceback")), service.log()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop_ends_every_process_and_logs_no_complaint(probe: Service, signum: signal.Signals) -> None:
    workers = probe.worker_pids()

    probe.process.send_signal(signum)

    assert probe.wait_end() == 0, probe.log()
    assert not any(map(is_alive, workers))
    assert not any(word in probe.log() for word in ("ERROR", "WARNING", "Traceback")), probe.log()


def test_ctrl_c_in_a_terminal_ends_cleanly(probe: Service) -> None:
    os.killpg(probe.process.pid, signal.SIGINT)

    assert probe.wait_end() == 0
    assert not any(word in probe.log() for word in ("ERROR", "WARNING", "Traceback")), probe.log()


@pytest.mark.parametrize(
    ("loop", "module"), [("auto", "uvloop"), ("uvloop", "uvloop"), ("asyncio", "asyncio"), ("rloop", "rloop")]
)
def test_the_chosen_event_loop_reaches_the_worker(tmp_path: Path, loop: str, module: str) -> None:
    service = Service(tmp_path, app="probe", COACHMAN_LOOP=loop, COACHMAN_WORKERS="1")
    with running(service):
        assert web.get(f"{service.url}/loop").json() == module


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "public.sock"
    service = Service(tmp_path, app="probe", COACHMAN_BIND=f"unix:{path}", COACHMAN_WORKERS="1")
    with (
        running(service),
        web.Client(
            transport=httpx2.HTTPTransport(uds=str(path)),
            base_url="http://shop",
        ) as client,
    ):
        assert client.get("/pid").status_code == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o660  # not for everybody on the machine


@pytest.mark.parametrize("extra", [(), ("--config", "/dev/null", "--no-control-socket")])
def test_the_plain_gunicorn_command_serves_with_our_worker(tmp_path: Path, extra: tuple[str, ...]) -> None:
    command = "probe:app --workers 4 --worker-class coachman.worker.Worker --bind 127.0.0.1:{port}"
    service = Service(tmp_path, *command.split(), *extra, PYTHONPATH=APPS)
    service.config = None
    with running(service, ready=False):
        assert wait_until(lambda: web.get(f"{service.url}/pid").status_code == 200), service.log()
        assert wait_until(lambda: len(children(service.process.pid)) == 4), service.log()
        is_named = "This master has not read Coachman's configuration: it has no supervision" in service.log()
        assert is_named is bool(extra), service.log()
        if not extra:  # --bind is the application's address, and takes nothing from the operations listener
            assert wait_until(lambda: web.get(f"{service.ops_url}/readyz").status_code == 200), service.log()


def test_equal_idempotency_keys_at_once_on_several_workers_book_once(shop: Service) -> None:
    async def book() -> None:
        async with web.AsyncClient(base_url=shop.url, timeout=PATIENCE_SECONDS) as client:
            item = (await client.post("/items", json={"sku": "once", "name": "Once"})).json()
            path = f"/items/{item['id']}/movements"
            for round_ in range(20):
                answers = await asyncio.gather(
                    *(_post_on_a_fresh_connection(shop.url + path, f"key-{round_}") for _ in range(8))
                )
                assert {answer.status_code for answer in answers} == {201}
                assert len({answer.text for answer in answers}) == 1
            stock = (await client.get(f"/items/{item['id']}")).json()["quantity"]
            assert stock == 20

    asyncio.run(book())


async def _post_on_a_fresh_connection(url: str, key: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, verify=TRUST) as client:
        body = {"delta": 1, "reason": "receipt"}
        return await client.post(url, json=body, headers={"Idempotency-Key": key})


def test_concurrent_movements_through_all_workers_keep_the_books(shop: Service) -> None:
    async def trade() -> None:
        async with web.AsyncClient(base_url=shop.url, timeout=PATIENCE_SECONDS) as client:
            item = (await client.post("/items", json={"sku": "trade", "name": "Trade"})).json()
            url = f"{shop.url}/items/{item['id']}/movements"
            answers = await asyncio.gather(*(_move(url, 3 if n % 2 else -2) for n in range(200)))
            assert {answer.status_code for answer in answers} <= {201, 409}
            booked = sum(answer.json()["delta"] for answer in answers if answer.status_code == 201)
            stock = (await client.get(f"/items/{item['id']}")).json()["quantity"]
            assert stock == booked == await _sum_of_movements(client, item["id"])

    asyncio.run(trade())


async def _move(url: str, delta: int) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, verify=TRUST) as client:
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
    for folder, app in ((tmp_path, "probe"), (tmp_path / "without", "undocumented")):
        with running(Service(folder, app=app, COACHMAN_WORKERS="1")) as service:
            announcements.append(f"interactive docs  {service.url}/docs\n" in service.log())

    assert announcements == [True, False]
