"""`systemctl reload`: a new release takes over under load, or is refused, whatever happens meanwhile."""

from subprocess import Popen

import pytest

from tests.support.generations import REFUSED, WAITING_AT_IMPORT, WAITING_AT_START
from tests.support.volume import volume
from tests.vm.machine import Machine, finish
from tests.vm.shop import GATE, HOLD, Shop

RELOADS = volume(10, 3)
# One for each phase of a handover: check, start, probation. tests/process/test_handover.py has all.
FLAWS = ["missing module", "start-up raises", "crash once started"]


@pytest.fixture
def shop(machine: Machine) -> Shop:
    shop = Shop(machine)
    shop.settle()
    return shop


@pytest.fixture(scope="module")
def steady(machine: Machine) -> Shop:
    """One generation for all refusals: none of them may leave a trace."""
    shop = Shop(machine)
    shop.settle()
    return shop


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_release_that_does_not_come_up_is_refused(steady: Shop, flaw: str) -> None:
    release, settings, sentence = REFUSED[flaw]
    before = steady.released()
    steady.wait_for_one_generation()
    pids = steady.pids()
    steady.configure(**settings)
    steady.release(f"not {flaw}".replace(" ", "-"), **release)
    with steady.loaded() as loads, steady.load("/readyz", port=9100, clients=1) as probes:
        said = steady.reload(code=1)
        assert steady.released() == before
    assert sentence in said, said
    assert "The handover is refused: " in said
    assert steady.pids() == pids, f"{steady.pids()}\n{said}"
    assert steady.machine.show("ActiveState") == "active"
    steady.assert_no_failure(*loads, probes)

    steady.configure(GREETING=flaw)
    version = f"after {flaw}".replace(" ", "-")
    steady.release(version)
    steady.reload()
    assert steady.released() == [version, flaw]


def test_releases_follow_each_other_under_load_without_a_failed_request(shop: Shop) -> None:
    """How long requests wait meanwhile: benchmarks/reload.py."""
    restarts = shop.restarts()
    with shop.loaded() as loads, shop.load("/readyz", port=9100, clients=1) as probes:
        for number in range(RELOADS):
            shop.configure(GREETING=f"hello {number}")
            shop.release(f"r{number}")
            shop.reload()
            assert shop.released() == [f"r{number}", f"hello {number}"]
            shop.wait_for_one_generation()
    shop.assert_no_failure(*loads, probes)
    assert shop.restarts() == restarts
    assert shop.main_pid() in shop.pids()


def test_a_second_reload_waits_for_the_first_and_both_succeed(shop: Shop) -> None:
    with shop.loaded() as loads:
        first = begin_reload(shop, "start")
        second = shop.machine.begin("systemctl reload coachman")
        shop.machine.wait("systemctl list-jobs | grep -q coachman.service")
        shop.machine.run(f"rm {GATE}")
        for reload in (first, second):
            printed = finish(reload)
            assert reload.returncode == 0, f"{printed}\n{shop.machine.journal()}"
        assert shop.released() == ["2", ""]
    shop.assert_no_failure(*loads)


# Of each one step, for systemd adds the same to all of them, which tests/process/test_handover_middle.py has.


def test_a_stop_during_a_reload_ends_both_generations(shop: Shop) -> None:
    reload = begin_reload(shop, "start")

    shop.machine.run("systemctl stop coachman.socket coachman-ops.socket coachman")

    finish(reload)
    assert not shop.pids(), shop.machine.journal()
    # "failed" is the reload's: systemd ended its command.
    assert shop.machine.show("ActiveState") in ("inactive", "failed"), shop.machine.journal()
    shop.machine.run(f"rm {GATE} && systemctl start coachman")
    assert shop.released() == ["2", ""]


def test_when_the_old_master_is_killed_during_a_reload_the_service_starts_anew(shop: Shop) -> None:
    with shop.loaded() as loads:
        reload = begin_reload(shop, "start")
        restarts, old = shop.restarts(), shop.pids()
        shop.machine.run(f"kill -9 {shop.main_pid()}; rm {GATE}")
        finish(reload)
        shop.machine.wait(f"test $(systemctl show --value -p NRestarts coachman) -gt {restarts}")
        shop.wait_ready()
        assert shop.released() == ["2", ""]
    shop.assert_only_what_it_held_is_lost(*loads, clients=12)
    assert not shop.pids() & old, shop.machine.journal()


@pytest.mark.parametrize("step", ["check", "start"])
def test_when_the_new_master_is_killed_the_reload_is_refused(shop: Shop, step: str) -> None:
    old = shop.pids()
    with shop.loaded() as loads:
        reload = begin_reload(shop, step)
        shop.machine.run(f"kill -9 {new_master(shop, step)}")
        finish(reload)
        assert reload.returncode == 1
        assert shop.released() == ["1", ""]
    shop.assert_no_failure(*loads)
    assert "the new master was killed by SIGKILL" in shop.machine.journal()
    shop.machine.wait(
        f"! pgrep -f 'coachman ([c]heck|[h]andover)'; test $(pgrep -fc '[g]unicorn') = {len(old)}"
    )
    assert shop.pids() == old, shop.machine.journal()


def test_when_the_reload_itself_is_killed_the_handover_goes_on(shop: Shop) -> None:
    restarts = shop.restarts()
    with shop.loaded() as loads:
        reload = begin_reload(shop, "check")
        old = shop.main_pid()
        shop.machine.run("pkill -9 -f 'coachman [h]andover'")
        shop.machine.run(f"rm {GATE}")
        finish(reload)  # systemd waits for the master's word
        shop.machine.wait(f"test $(systemctl show --value -p MainPID coachman) != {old}")
        shop.wait_for_one_generation()
        assert shop.released() == ["2", ""]
    shop.assert_no_failure(*loads)
    assert shop.restarts() == restarts


def test_a_request_that_the_old_generation_has_is_answered_after_the_reload(shop: Shop) -> None:
    shop.machine.run(f"touch {HOLD}")
    held = shop.machine.begin("curl -sSf http://127.0.0.1:8000/hold")
    shop.wait_in_flight()
    shop.release("2")
    shop.reload()
    assert shop.released() == ["2", ""]

    shop.machine.run(f"rm {HOLD}")
    printed = finish(held)

    assert held.returncode == 0, f"{printed}\n{shop.machine.journal()}"


def begin_reload(shop: Shop, step: str) -> Popen[str]:
    """To release 2, up to this step, where it waits until the gate is gone."""
    waits = {"check": {"at_import": WAITING_AT_IMPORT}, "start": {"at_start": WAITING_AT_START}}
    shop.machine.run(f"touch {GATE}")
    shop.release("2", **waits[step])
    reload = shop.machine.begin("systemctl reload coachman")
    at = {
        "check": "pgrep -f 'coachman [c]heck'",
        "start": "test $(ls /run/coachman/scoreboard.* | wc -l) = 2",
    }
    shop.machine.wait(at[step])
    return reload


def new_master(shop: Shop, step: str) -> int:
    if step == "check":  # the fork that waits for the check's outcome
        check = shop.machine.run("pgrep -f 'coachman [c]heck'").split()[0]
        return int(shop.machine.run(f"ps -o ppid= {check}"))
    boards = shop.machine.run("ls /run/coachman").split()
    pids = {int(name.rpartition(".")[2]) for name in boards if name.startswith("scoreboard.")}
    [new] = pids - {shop.main_pid()}
    return new
