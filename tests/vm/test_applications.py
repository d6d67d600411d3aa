"""Several applications on one machine: each has its own of everything, and none harms another."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.package import UV
from tests.vm.conftest import need
from tests.vm.machine import Machine
from tests.vm.shop import PAUSE, Shop

BAKERY = "coachman -n bakery"
UNIT = "coachman-bakery.service"
PROJECT = {
    "requirements.txt": "fastapi\n",
    "main.py": """
import os
from pathlib import Path
from fastapi import FastAPI

app, kept = FastAPI(), []

@app.get("/")
def bread() -> str:
    return "rye"

@app.get("/eat")
def eat(megabytes: int) -> int:
    kept.extend(b"x" * (1 << 20) for _ in range(megabytes))
    return len(kept)

@app.get("/fill")
def fill() -> str:
    try:
        with Path(os.environ["STATE_DIRECTORY"], "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    except OSError as error:
        return str(error.strerror)
""",
}


@pytest.fixture(scope="module")
def bakery(machine: Machine) -> Iterator[Machine]:
    """Installed beside the unnamed application, with no option but its name."""
    for name, text in PROJECT.items():
        machine.write(f"/root/bakery/{name}", text)
    printed = machine.run(f"{BAKERY} install --wheels /root/wheels /root/bakery")
    assert "serves: generation 1" in printed
    assert "curl -s http://127.0.0.1:8001/" in printed
    yield machine
    # Of this one nothing is left, and of the other nothing is gone.
    machine.run(f"{BAKERY} uninstall --data")
    left = machine.run(
        "ls -d /etc/systemd/system/coachman-b* /opt/*bakery /etc/*bakery /var/lib/*bakery", code=None
    )
    assert left.count("No such file") == 4, left
    machine.run("id coachman-bakery", code=1)
    assert len(applications(machine)) == 1
    machine.run("coachman status && curl -s http://127.0.0.1:8000/")


def wait_ready(bakery: Machine) -> None:
    bakery.wait("curl -sf http://127.0.0.1:9101/readyz")


def applications(machine: Machine) -> list[dict[str, str]]:
    return [json.loads(line) for line in machine.run("coachman list --json").splitlines()]


def test_each_has_an_address_a_user_and_folders_of_its_own(bakery: Machine) -> None:
    assert bakery.run("curl -sSf http://127.0.0.1:8001/") == '"rye"'
    bakery.run("curl -sSf http://127.0.0.1:8000/items")
    unnamed, named = applications(bakery)
    assert (unnamed["unit"], unnamed["address"]) == ("coachman.service", "127.0.0.1:8000")
    assert (named["unit"], named["address"], named["operations"]) == (
        UNIT,
        "127.0.0.1:8001",
        "127.0.0.1:9101",
    )
    assert named["state"] == "active"

    assert f"Master {bakery.show('MainPID', UNIT)}" in bakery.run(f"{BAKERY} status")
    assert f"Master {bakery.show('MainPID')}" in bakery.run("coachman status")
    as_baker = "setpriv --reuid coachman-bakery --regid coachman-bakery --clear-groups"
    for path in ("/etc/coachman/coachman.env", "/var/lib/coachman/coachman.db"):
        assert "Permission denied" in bakery.run(f"{as_baker} cat {path}", code=1)
    assert "coachman-bakery" in bakery.run("stat -c %U /var/lib/coachman-bakery")


def test_one_crashes_and_one_releases_and_neither_loses_a_request_of_the_other(bakery: Machine) -> None:
    shop = Shop(bakery)
    shop.settle()
    killed = bakery.show("MainPID", UNIT)
    with shop.loaded() as loads:
        bakery.run(f"kill -9 {killed}")
        shop.release("2")
        shop.reload()
        bakery.wait(f"systemctl show --value -p MainPID {UNIT} | grep -qvx -e 0 -e {killed}")
        wait_ready(bakery)
    shop.assert_no_failure(*loads)

    with Load(8001, "/", clients=4, pause=PAUSE, connect=bakery.connect) as load:
        bakery.run(f"kill -9 {shop.main_pid()}")
        bakery.run(f"{BAKERY} rollback", code=1)  # to what? It is refused, and says so
        bakery.run("systemctl reload coachman-bakery")
        shop.wait_ready()
    assert set(load.outcomes) == {"success"}, f"{load.outcomes}\n{bakery.journal(UNIT)}"


def test_one_line_limits_its_memory_and_cpu_for_good(bakery: Machine) -> None:
    bakery.run("systemctl set-property coachman-bakery MemoryMax=300M CPUQuota=50%")

    assert bakery.show("MemoryMax", UNIT) == str(300 * 2**20)
    assert bakery.show("CPUQuotaPerSecUSec", UNIT) == "500ms"
    assert bakery.show("MemoryMax") == "infinity"
    bakery.run("systemctl daemon-reload")
    assert bakery.show("MemoryMax", UNIT) == str(300 * 2**20)


MEMORY = Path("/sys/fs/cgroup/memory")  # where the kernel has it in a hierarchy of its own


@contextlib.contextmanager
def limited_memory(machine: Machine, unit: str, megabytes: int) -> Iterator[None]:
    """Has the kernel keep what runs in the unit to so much more, as MemoryMax does outside a container."""
    group = MEMORY / f"{machine.name}-{unit}"
    need(
        met=MEMORY.is_dir(), sentence="A container's memory cannot be limited here: cgroups of version 1 can."
    )
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes << 20))
        for pid in machine.pids_outside(unit):
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        machine.run(f"systemctl stop {unit}")  # what is in it ends
        group.rmdir()
        machine.run(f"systemctl start {unit}")


def test_one_runs_out_of_memory_and_the_other_loses_no_request(bakery: Machine) -> None:
    shop = Shop(bakery)
    shop.settle()
    with limited_memory(bakery, UNIT, 100), shop.loaded() as loads:
        restarts, master = bakery.show("NRestarts", UNIT), bakery.show("MainPID", UNIT)

        bakery.run("! curl -sf 'http://127.0.0.1:8001/eat?megabytes=400'")

        bakery.wait("journalctl -u coachman-bakery -o cat -n 200 | grep -q 'was killed by SIGKILL'")
        wait_ready(bakery)
        assert bakery.run("curl -sSf http://127.0.0.1:8001/") == '"rye"'
        assert (bakery.show("NRestarts", UNIT), bakery.show("MainPID", UNIT)) == (restarts, master)
    shop.assert_no_failure(*loads)


@pytest.fixture
def full_disk(bakery: Machine) -> Iterator[Machine]:
    """The states of both are on one of 16 MiB, until it ends."""
    units, states = f"coachman.service {UNIT}", ("coachman", "coachman-bakery")
    bakery.run(f"systemctl stop {units} && mkdir /srv/disk && mount -t tmpfs -o size=16m none /srv/disk")
    for name in states:
        bakery.run(f"install -d -o {name} -g {name} -m 750 /srv/disk/{name}")
        bakery.run(f"mount --bind /srv/disk/{name} /var/lib/{name}")
    bakery.run(f"systemctl start {units}")
    yield bakery
    bakery.run(f"systemctl stop {units}")
    bakery.run("umount /var/lib/coachman /var/lib/coachman-bakery /srv/disk && rmdir /srv/disk")
    bakery.run(f"systemctl start {units}")


def test_one_fills_the_disk_and_the_other_serves_and_reloads_and_the_doctor_says_it(
    full_disk: Machine,
) -> None:
    shop = Shop(full_disk)
    shop.settle()
    with shop.loaded() as loads:
        printed = full_disk.run("curl -sSf http://127.0.0.1:8001/fill")
        assert printed == '"No space left on device"'
        shop.release("2")
        shop.reload()
        assert full_disk.run("curl -sSf http://127.0.0.1:8001/") == '"rye"'
        full_disk.run("systemctl reload coachman-bakery")
    shop.assert_no_failure(*loads)

    printed = full_disk.run(f"{BAKERY} doctor", code=1)
    assert "/var/lib/coachman-bakery has 0 MiB free of 16" in printed, printed
    full_disk.run("rm /var/lib/coachman-bakery/full")
    assert "Nothing is wrong with coachman-bakery" in full_disk.run(f"{BAKERY} doctor")


def test_another_address_and_seal_are_taken_at_the_next_installation(bakery: Machine) -> None:
    bakery.put(UV, "/root/uv")
    again = f"PATH=/root/uv:$PATH {BAKERY} install --wheels /root/wheels /root/bakery"
    printed = bakery.run(f"{again} --bind 0.0.0.0:8080 --sealed")
    assert "0.0.0.0:8080 can be reached from other machines, without TLS: whatever" in printed
    assert bakery.run("curl -sSf http://127.0.0.2:8080/") == '"rye"'
    assert bakery.show("PrivateNetwork", UNIT) == "yes"
    named = applications(bakery)[1]
    assert (named["address"], named["network"]) == ("0.0.0.0:8080", "sealed")

    states = bakery.run(f"{BAKERY} units").splitlines()
    assert {line.partition(": ")[2] for line in states} == {"as installed", "a drop-in of this machine"}, (
        states
    )


SPOILT = """
systemctl --quiet disable coachman-bakery-ops.socket
echo '# mine' >>/etc/systemd/system/coachman-bakery.service
mkdir /opt/coachman-bakery/releases/19700101-000000
printf 'COACHMAN_BIND=0.0.0.0:80\\nCOACHMAN_WORKERS=many\\n' >>/etc/coachman-bakery/coachman.env
chmod 644 /etc/coachman-bakery/coachman.env
mkdir -p /etc/letsencrypt/live/bakery.example
cd /etc/letsencrypt/live/bakery.example
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out fullchain.pem -days 3 -subj /CN=bakery.example
"""


def test_the_doctor_says_what_is_wrong_and_what_to_run(bakery: Machine) -> None:
    assert "Nothing is wrong with coachman-bakery" in bakery.run(f"{BAKERY} doctor")
    bakery.run("cp -a /etc/coachman-bakery/coachman.env /root/kept.env")
    bakery.run(SPOILT)

    printed = bakery.run(f"{BAKERY} doctor", code=1)

    for sentence in (
        "coachman-bakery.service or a drop-in of it has changed, and systemd has not read it",
        "coachman-bakery-ops.socket does not come up at a boot",
        "Release 19700101-000000 was never completed",
        "/etc/systemd/system/coachman-bakery.service is not as this Coachman installs it",
        "/etc/coachman-bakery/coachman.env can be read by every user",
        "COACHMAN_BIND in /etc/coachman-bakery/coachman.env has no effect",
        "It would not start again: COACHMAN_WORKERS=many is refused",
        "The certificate /etc/letsencrypt/live/bakery.example/fullchain.pem ends in 3 days",
    ):
        assert sentence in printed, printed
    bakery.run("cp -a /root/kept.env /etc/coachman-bakery/coachman.env")
    bakery.run("rm -r /etc/letsencrypt /opt/coachman-bakery/releases/19700101-000000")
    bakery.run("systemctl --quiet enable coachman-bakery-ops.socket")
    bakery.run("sed -i '/^# mine/d' /etc/systemd/system/coachman-bakery.service && systemctl daemon-reload")
    assert "Nothing is wrong with coachman-bakery" in bakery.run(f"{BAKERY} doctor")


def test_what_cannot_be_installed_is_said_in_one_sentence_and_nothing_listens(bakery: Machine) -> None:
    for command, sentence in {
        "coachman -n Broken install /root/bakery": "--name Broken is refused: it must be a letter",
        "coachman -n broken install /root/nowhere": "/root/nowhere is not there",
        "coachman -n broken install --wheels /root/bakery /root/bakery": "there is no wheel in it",
        "coachman -n broken install --bind 127.0.0.1:8000 /root": "Something listens on 127.0.0.1:8000",
        "coachman -n broken install --bind here /root/bakery": "--bind here is refused: it must be HOST:",
        "coachman -n broken install /etc/ssl": "/etc/ssl is not released",
        "coachman -n nobody status": "There is no application nobody on this machine",
        "coachman -n nobody uninstall": "There is nothing of coachman-nobody",
        "setpriv --reuid coachman --regid coachman --clear-groups coachman install /": "run this with sudo",
    }.items():
        printed = bakery.run(command, code=1)
        assert sentence in printed, printed
        assert "Traceback" not in printed

    # The one that got as far as its first release neither listens nor comes up at a boot.
    assert bakery.run("systemctl is-enabled coachman-broken.socket", code=1).strip() == "disabled"
    assert bakery.show("ActiveState", "coachman-broken.socket") == "inactive"
    bakery.run("coachman -n broken uninstall --data")
