"""Start, stop, restart, and what happens to the service under a real systemd."""

import json
from collections.abc import Iterator
from subprocess import Popen

import pytest

from tests.support.generations import WAITING_AT_START
from tests.vm.machine import Machine, finish
from tests.vm.shop import GATE, HOLD, SETTINGS, Shop

UNITS = "coachman.service coachman.socket coachman-ops.socket"


@pytest.fixture
def shop(machine: Machine) -> Iterator[Shop]:
    shop = Shop(machine)
    shop.settle()
    yield shop
    machine.run("rm -rf /run/systemd/system/coachman.service.d && systemctl daemon-reload")


@pytest.fixture
def drop_in(shop: Shop) -> Iterator[None]:
    """A watchdog that a test can wait for, and that spares a master whose machine stood still for seconds."""
    path = "/run/systemd/system/coachman.service.d/test.conf"
    shop.machine.write(path, "[Service]\nWatchdogSec=15\n")
    shop.machine.run("systemctl daemon-reload && systemctl restart coachman")
    yield
    shop.machine.run(f"rm {path} && systemctl daemon-reload")


def test_start_returns_when_all_workers_serve(shop: Shop) -> None:
    shop.machine.run(f"systemctl stop coachman && touch {GATE}")
    shop.release("1", at_start=WAITING_AT_START)
    start = shop.machine.begin("systemctl start coachman && curl -sf http://127.0.0.1:9100/readyz")
    shop.machine.wait("journalctl -u coachman -o cat -n 20 | grep -c 'Booting worker' | grep -q 2")
    assert start.poll() is None
    assert shop.machine.show("ActiveState") == "activating"

    shop.machine.run(f"rm {GATE}")
    printed = finish(start)

    assert start.returncode == 0, f"{printed}\n{shop.machine.journal()}"
    assert json.loads(printed)["ready"] == 2


def test_an_application_that_cannot_start_fails_the_start_and_the_journal_says_why(shop: Shop) -> None:
    shop.machine.run("systemctl stop coachman")
    shop.release("1", at_start="raise OSError('no database')")

    printed = shop.machine.run("systemctl start coachman", code=1)
    assert "journalctl -xeu coachman.service" in printed

    assert "no database" in shop.machine.run("journalctl --no-pager -n 20 -xeu coachman.service")
    shop.release("1")
    shop.wait_ready()  # it is tried again and again


@pytest.mark.parametrize("generation", ["first", "promoted"])
def test_a_restart_refuses_nobody(shop: Shop, generation: str) -> None:
    if generation == "promoted":
        shop.reload()
    with shop.loaded() as loads:
        shop.machine.run("systemctl restart coachman")
        shop.wait_ready()
    shop.assert_no_failure(*loads)


@pytest.mark.parametrize("generation", ["first", "promoted"])
def test_a_stop_answers_what_is_open(shop: Shop, generation: str) -> None:
    """After a handover the master is not systemd's own child, which it would kill at once."""
    if generation == "promoted":
        shop.reload()
        shop.wait_for_one_generation()
    held, stop = hold(shop), shop.machine.begin("systemctl stop coachman.socket coachman-ops.socket coachman")
    shop.machine.wait("test $(systemctl show --value -p ActiveState coachman) = deactivating")
    shop.machine.run(f"rm {HOLD}")

    answer = finish(held)
    finish(stop)

    assert held.returncode == 0, f"{answer}\n{shop.machine.journal()}"
    assert shop.machine.show("Result") == "success", shop.machine.journal()
    assert not shop.pids()


def test_a_stop_right_after_a_reload_answers_what_the_old_generation_has(shop: Shop) -> None:
    held = hold(shop)
    shop.reload()
    stop = shop.machine.begin("systemctl stop coachman.socket coachman-ops.socket coachman")
    shop.machine.wait("test $(systemctl show --value -p ActiveState coachman) = deactivating")
    shop.machine.run(f"rm {HOLD}")

    answer = finish(held)
    finish(stop)

    assert held.returncode == 0, f"{answer}\n{shop.machine.journal()}"
    assert not shop.pids()


def hold(shop: Shop) -> Popen[str]:
    """A request that is answered when its file is gone."""
    shop.machine.run(f"touch {HOLD}")
    held = shop.machine.begin("curl -sSf http://127.0.0.1:8000/hold")
    shop.wait_in_flight()
    return held


def test_a_stopped_service_is_started_by_the_next_client(shop: Shop) -> None:
    shop.machine.run("systemctl stop coachman")
    assert not shop.pids()

    assert shop.released() == ["1", ""]


def test_a_first_release_that_is_refused_leaves_nothing_that_listens_or_is_tried_again(shop: Shop) -> None:
    shop.machine.run(f"systemctl stop {UNITS} && mv /opt/coachman/current /root/current")
    try:
        shop.machine.run("systemctl start coachman.socket coachman-ops.socket")  # as at a boot
        shop.machine.run("mkdir -p /root/nothing && coachman release /root/nothing", code=1)
        shop.machine.run("curl -s http://127.0.0.1:8000/", code=7)  # is refused
        shop.machine.run("systemctl start coachman", code=1)
        states = shop.machine.run(f"systemctl show --value --property=ActiveState,NRestarts {UNITS}")
        assert set(states.split()) == {"inactive", "0"}, shop.machine.journal()
    finally:
        shop.machine.run("mv /root/current /opt/coachman/current && systemctl start coachman")
    assert shop.released() == ["1", ""]


@pytest.mark.parametrize("generation", ["first", "promoted"])
def test_a_killed_master_is_replaced_and_nobody_is_refused(shop: Shop, generation: str) -> None:
    if generation == "promoted":
        shop.reload()
    restarts, master = shop.restarts(), shop.main_pid()
    with shop.loaded() as loads:
        shop.machine.run(f"kill -9 {master}")
        shop.machine.wait("test $(systemctl show --value -p NRestarts coachman) -gt " + str(restarts))
        shop.wait_ready()
        assert shop.released() == ["1", ""]
    shop.assert_only_what_it_held_is_lost(*loads)
    assert master not in shop.pids()


@pytest.mark.usefixtures("drop_in")
def test_a_master_that_stands_still_is_replaced_by_the_watchdog(shop: Shop) -> None:
    master = shop.main_pid()
    shop.machine.run(f"kill -STOP {master}")

    shop.machine.wait("test $(systemctl show --value -p NRestarts coachman) -gt 0")
    shop.wait_ready()
    assert "Watchdog timeout" in shop.machine.journal()
    assert master not in shop.pids()


def test_secrets_come_as_files_that_only_root_can_read(shop: Shop) -> None:
    settings = shop.machine.run(f"grep -v COACHMAN_APP {SETTINGS}")
    shop.machine.write(SETTINGS, settings)
    shop.machine.write("/etc/coachman/credentials/app", "shop:app\n")
    try:
        shop.machine.run("systemctl restart coachman")
        shop.release("2")
        shop.reload()
        assert shop.released() == ["2", ""]
    finally:
        shop.machine.run("rm /etc/coachman/credentials/app")
    assert shop.machine.run("stat -c %a:%U /etc/coachman/credentials").strip() == "700:root"


# Asks while nobody serves yet: no release comes up before the request is on its way.
EARLY = f"""
curl -sSf -o /root/early http://127.0.0.1:8000/release &
until ss -Htn state established dport = :8000 | grep -q .; do sleep 0.05; done
rm {GATE}
wait $!
"""


def test_after_a_reboot_it_serves_by_itself_and_answers_who_came_early(shop: Shop) -> None:
    shop.machine.run(f"touch {GATE}")
    shop.release("1", at_start=WAITING_AT_START)
    shop.machine.write("/root/early.sh", EARLY)
    early = "/etc/systemd/system/early.service"
    shop.machine.write(
        early,
        "[Unit]\nAfter=coachman.socket\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        "ExecStart=/bin/sh /root/early.sh\n[Install]\nWantedBy=multi-user.target\n",
    )
    shop.machine.run("systemctl daemon-reload && systemctl enable early")

    shop.machine.reboot()

    shop.wait_ready()
    shop.machine.wait("test $(systemctl is-active early) = active")
    assert json.loads(shop.machine.run("cat /root/early")) == ["1", ""]
    came = int(shop.machine.show("ExecMainStartTimestampMonotonic", "early.service"))
    assert came < int(shop.machine.show("ActiveEnterTimestampMonotonic")), "nobody came early"
    shop.machine.run(f"systemctl disable early; rm {early}; systemctl daemon-reload")
