"""Several applications on one machine: each has its own of everything, and none harms another."""

import json
from collections.abc import Iterator

import pytest

from tests.support.load import Load
from tests.vm.machine import Machine
from tests.vm.shop import Shop

BAKERY = "coachman -n bakery"
UNIT = "coachman-bakery.service"
PROJECT = {
    "requirements.txt": "fastapi\n",
    "main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n"
    "@app.get('/')\ndef bread() -> str:\n    return 'rye'\n",
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
        bakery.wait(f"{BAKERY} status")
    shop.assert_no_failure(*loads)
    assert bakery.show("MainPID", UNIT) != killed

    with Load(8001, "/", clients=4, pause=0.01, timeout=30, connect=bakery.connect) as load:
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


def test_another_address_and_seal_are_taken_at_the_next_installation(bakery: Machine) -> None:
    again = f"{BAKERY} install --wheels /root/wheels /root/bakery"
    bakery.run(f"{again} --bind 127.0.0.2:8080 --sealed")
    assert bakery.run("curl -sSf http://127.0.0.2:8080/") == '"rye"'
    assert bakery.show("PrivateNetwork", UNIT) == "yes"
    named = applications(bakery)[1]
    assert (named["address"], named["network"]) == ("127.0.0.2:8080", "sealed")

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
