"""The operator's commands, against a service that runs, one that is in trouble, and none."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadlines import COMMAND_SECONDS
from tests.support.generations import WAITING_AT_START, Generations, finish
from tests.support.service import REPOSITORY, running, unmeasured, wait_until

FAILING = 'if pathlib.Path(os.environ["GATE"]).exists(): raise OSError("the database is down")'
COMMANDS = [
    ("status",),
    ("status", "--watch", "--json"),
    ("scale", "3"),
    ("kill-worker", "--any"),
    ("handover",),
]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generations]:
    """One for all commands that leave it as it was."""
    # The worker that is stopped is killed for it after so long, and one that only waits for CPU time is not.
    with running(Generations(tmp_path_factory.mktemp("started"), COACHMAN_HANG_SECONDS="6")) as service:
        yield service


@pytest.fixture
def service(started: Generations) -> Generations:
    started.wait_settled()
    return started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Generations]:
    with running(Generations(tmp_path)) as service:
        yield service


# status


def without_counts(report: dict[str, Any]) -> dict[str, Any]:
    """What does not change from look to look."""
    changing = {"requests", "in_flight", "connections", "rss"}
    slots = [{key: slot[key] for key in slot.keys() - changing} for slot in report["slots"]]
    return {key: report[key] for key in report.keys() - changing} | {"slots": slots}


def test_the_status_is_what_readyz_answers(service: Generations) -> None:
    report = service.report()

    code, printed = service.coachman("status", "--json")
    assert (code, without_counts(json.loads(printed))) == (0, without_counts(report)), printed

    code, table = service.coachman("status", COLUMNS="120")
    assert code == 0, table
    assert table.startswith(f"Master {service.process.pid}: 2/2 workers ready, "), table
    for slot in report["slots"]:
        row = rf"^ +{slot['slot']}  ready  {slot['pid']}  \d+ s .* MiB +{slot['restarts']}  "
        assert re.search(row, table, re.MULTILINE), table


def test_the_status_of_a_degraded_service_names_what_is_wrong(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.release("1", at_start=FAILING)
    with running(service):
        service.wait_settled()
        service.gate.touch()
        os.kill(service.slots()[1]["pid"], signal.SIGKILL)
        assert wait_until(lambda: service.slots()[1]["failures"] > 2), service.log()

        code, table = service.coachman("status", COLUMNS="120")
        assert code == 1, table
        assert ": degraded: 1/2 workers ready, " in table
        assert re.search(
            r"^ +1  (backing-off|starting) .* boot-failed \(code 1\) \d+ s ago +- *$", table, re.MULTILINE
        ), table
        code, printed = service.coachman("status", "--json")
        assert (code, json.loads(printed)["status"]) == (1, "degraded")


def test_the_status_shows_both_generations_and_speaks_for_the_one_that_serves(own: Generations) -> None:
    new = own.begin_handover("start")

    code, table = own.coachman("status", COLUMNS="120")
    assert code == 0, table
    masters = re.findall(r"^Master (\d+): (.*), \d+ requests?, generation (\d)$", table, re.MULTILINE)
    old = str(own.process.pid)
    assert masters == [(str(new), "0/2 workers ready", "2"), (old, "2/2 workers ready", "1")], table
    assert json.loads(own.coachman("status", "--json")[1])["generation"] == 1
    code, printed = own.coachman("scale", "3")
    assert (code, printed.partition(";")[0]) == (1, "A handover is under way")
    code, printed = own.coachman("kill-worker", "--any", "--json")
    assert (code, own.is_at("start")) == (0, True), "it killed one of the generation on trial"

    own.gate.unlink()
    own.wait_for_sole_master(new)
    assert json.loads(own.coachman("status", "--json")[1])["generation"] == 2


def test_watching_in_json_is_a_line_a_look_until_ctrl_c(service: Generations, tmp_path: Path) -> None:
    looks = tmp_path / "looks"
    with looks.open("w") as file:
        watch = service.command("status", "--watch", "--json", output=file.fileno())
    assert wait_until(lambda: looks.read_text().count("\n") >= 3), looks.read_text()
    watch.send_signal(signal.SIGINT)

    assert finish(watch)[0] == 0
    assert {json.loads(line)["status"] for line in looks.read_text().splitlines()} == {"ready"}


def test_watching_in_a_terminal_leaves_it_as_it_was(service: Generations) -> None:
    outer, inner = os.openpty()
    shown = bytearray()
    with open(outer, "rb", buffering=0) as terminal, open(inner, "wb"):
        os.set_blocking(outer, False)

        def shows(text: bytes) -> bool:
            shown.extend(terminal.read() or b"")
            return text in shown

        watch = service.command("status", "--watch", output=inner, TERM="xterm")
        assert wait_until(lambda: shows(b"2/2 workers ready")), shown
        watch.send_signal(signal.SIGINT)
        assert finish(watch)[0] == 0
        assert shows(b"[?1049l"), shown
    assert b"Traceback" not in shown, shown


def test_watching_ends_with_the_service(own: Generations, tmp_path: Path) -> None:
    looks = tmp_path / "looks"
    with looks.open("w") as file:
        watch = own.command("status", "--watch", "--json", output=file.fileno())
    assert wait_until(lambda: '"ready"' in looks.read_text()), looks.read_text()
    own.process.send_signal(signal.SIGTERM)

    assert finish(watch)[0] == 3
    assert looks.read_text().splitlines()[-1].startswith("No Coachman service runs: "), looks.read_text()


# scale


def test_scaling_up_and_down_fails_no_request(service: Generations) -> None:
    with service.loaded() as loads:
        before = service.worker_pids()
        code, printed = service.coachman("scale", "5")
        assert (code, printed[:31]) == (0, "5 workers serve (before: 2); it"), printed
        assert len(service.worker_pids() - before) == 3

        code, printed = service.coachman("scale", "2", "--json")
        told = json.loads(printed)
        assert (code, told["before"], told["workers"], told["seconds"] > 0) == (0, 5, 2, True)
        assert (service.report()["workers"], service.worker_pids()) == (2, before)

        code, printed = service.coachman("scale", "2")
        assert (code, printed[:31]) == (0, "2 workers serve (before: 2); it"), printed
    service.assert_no_failure(*loads)


@pytest.mark.parametrize("number", ["0", "257", "many"])
def test_a_number_of_workers_that_cannot_be_is_refused(service: Generations, number: str) -> None:
    code, printed = service.coachman("scale", number)

    assert (code, "Traceback" in printed, service.report()["workers"]) == (2, False, 2), printed


def test_a_scale_that_takes_too_long_says_how_many_serve(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.release("1", at_start=WAITING_AT_START)
    with running(service):
        service.gate.touch()
        code, printed = service.coachman("scale", "3", "--wait", "0.5")
        assert (code, printed.partition(";")[0]) == (1, "2 of 3 workers serve after 0.5 s"), printed
        service.gate.unlink()
        assert service.coachman("scale", "3")[0] == 0


# kill-worker


@pytest.mark.parametrize("blow", ["KILL", "STOP", "ABRT"])
def test_a_killed_worker_is_replaced_in_the_order_that_is_told(service: Generations, blow: str) -> None:
    slot, logged = service.slots()[1], len(service.log())
    service.hold.touch()
    with service.asked("/hold"), service.asked("/hold"), service.asked("/hold"):
        assert wait_until(lambda: sum(slot["in_flight"] for slot in service.slots()) == 3), service.log()
        held = service.slots()[1]["in_flight"]
        begun = time.monotonic()
        code, printed = service.coachman("kill-worker", "1", "--signal", blow, "--json")
        service.hold.unlink()
    told = json.loads(printed)

    assert (code, told["slot"], told["signal"], told["pid"]) == (0, 1, f"SIG{blow}", slot["pid"])
    assert held <= told["requests_lost"] <= 3, service.log()  # one on each connection that it had
    assert begun <= told["killed_at"] <= time.monotonic()
    assert 0 < told["reaped_ms"] <= told["forked_ms"] <= told["ready_ms"], told
    after = service.slots()[1]
    assert (after["pid"], after["restarts"], after["state"]) == (
        told["successor"],
        slot["restarts"] + 1,
        "ready",
    )
    assert after["last_exit"]["reason"] == ("stopped-process" if blow == "STOP" else "crashed")
    assert ("Current thread" in service.log()[logged:]) == (blow == "ABRT"), service.log()


def test_a_random_worker_is_killed_and_the_timeline_is_for_people(service: Generations) -> None:
    pids = {str(pid) for pid in service.worker_pids()}
    code, printed = service.coachman("kill-worker", "--any")

    lines = printed.splitlines()
    assert (code, len(lines)) == (0, 5), printed
    victim = re.fullmatch(r" +0\.0 ms  SIGKILL to the worker in slot [01] \(pid (\d+)\)", lines[0])
    assert victim is not None, printed
    assert {victim[1]} == pids - {str(pid) for pid in service.worker_pids()}


def test_a_slot_without_a_serving_worker_is_refused(service: Generations) -> None:
    workers = service.worker_pids()
    code, printed = service.coachman("kill-worker", "7")

    assert (code, printed) == (1, "No worker serves in slot 7; some do in 0, 1. Nothing was killed.\n")
    assert service.worker_pids() == workers


def test_nobody_is_killed_where_nobody_serves(tmp_path: Path) -> None:
    service = Generations(tmp_path)
    service.gate.touch()
    service.release("1", at_start=WAITING_AT_START)
    with running(service, ready=False):
        assert wait_until(lambda: service.log().count("Booting worker") == 2), service.log()
        code, printed = service.coachman("kill-worker", "--any")
    assert (code, printed) == (1, "No worker serves; `coachman status` says why. Nothing was killed.\n")


# All of them


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_service_each_command_says_where_it_has_looked(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    code, printed = Generations(tmp_path).coachman(*command)

    assert code == 3
    looked = (
        f"No Coachman service runs: no living master's scoreboard in {tmp_path}/run. Set COACHMAN_RUNTIME_DIR"
    )
    assert printed.startswith(looked), printed
    assert len(printed.splitlines()) == 1


def test_a_service_is_found_where_it_was_started(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "run"
    with running(Generations(tmp_path, COACHMAN_RUNTIME_DIR=str(folder))):
        found = subprocess.run(
            [sys.executable, "-m", "coachman", "status"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
    assert (found.returncode, "2/2 workers ready" in found.stdout) == (0, True), found.stdout + found.stderr


# It reads its modules as root: another user may not be able to read where they lie.
AS_NOBODY = """
import os, sys
from coachman.cli import cli
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
cli(sys.argv[1:], prog_name="coachman")
"""


def as_nobody(service: Generations, *arguments: str, **environment: str) -> tuple[int, str]:
    command = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        cwd=REPOSITORY,
        env=unmeasured(service.environment) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    return command.returncode, command.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_may_look_and_is_told_that_he_may_not_touch(tmp_path: Path) -> None:
    folder = Path("/tmp") / f"coachman-{os.getpid()}"
    service = Generations(tmp_path, COACHMAN_RUNTIME_DIR=str(folder))
    try:
        with running(service):
            workers = service.worker_pids()
            code, printed = as_nobody(service, "status", "--json")
            assert (code, json.loads(printed)["status"]) == (0, "ready"), printed

            refused = "{} belongs to another user: run this as root or as that user.\n"
            master = refused.format(f"The master {service.process.pid}")
            assert as_nobody(service, "scale", "3") == (1, master)
            assert as_nobody(service, "handover") == (1, master)
            worker = refused.format(f"The worker {service.slots()[0]['pid']}")
            assert as_nobody(service, "kill-worker", "0") == (1, worker)
            code, printed = as_nobody(service, "handover", MAINPID="1")
            assert (code, printed) == (
                1,
                f"Nothing can be written to {folder} (Permission denied): no handover.\n",
            )
            assert service.worker_pids() == workers
            folder.chmod(0o700)
            code, printed = as_nobody(service, "status")
            assert (code, printed) == (1, f"{folder} cannot be read: run this as the service's user.\n")
    finally:
        shutil.rmtree(folder)


def test_a_disk_without_room_for_the_new_environment_begins_no_handover(service: Generations) -> None:
    command = subprocess.run(
        ["prlimit", "--fsize=0", sys.executable, "-m", "coachman", "handover"],
        cwd=REPOSITORY,
        env=unmeasured(service.environment) | {"MAINPID": str(service.process.pid)},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert (command.returncode, command.stderr.count("\n")) == (1, 1), command.stderr
    assert "(File too large): no handover." in command.stderr
    assert service.files() == [f"scoreboard.{service.process.pid}"]
    assert service.masters()[0].service.handovers == 0
